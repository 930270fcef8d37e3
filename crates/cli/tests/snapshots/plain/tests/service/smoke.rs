//! The program starts, says that it is ready, and shows what it is.

use crate::support::Service;

#[tokio::test]
async fn it_starts_and_is_ready() {
    let service = Service::start().await;
    let (status, openapi) = service.http("GET /openapi.json", "").await;
    assert_eq!(status, 200);
    let path = &openapi["paths"]["/v1/notes/{id}"];
    assert!(path.is_object(), "{openapi}");
    let (status, _) = service.admin("GET /readyz").await;
    assert_eq!(status, 200, "{}", service.server.process().log());
}
