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

#[tokio::test]
async fn operators_have_routes_of_their_own() {
    let service = Service::start().await;
    let milk = "{\"title\": \"Milk\"}";
    service.http("POST /v1/notes", milk).await;
    let (status, totals) = service.admin("GET /notes").await;
    assert_eq!((status, totals["notes"].as_u64()), (200, Some(1)));
    assert_eq!(service.admin("DELETE /notes/1").await.0, 204);
    assert_eq!(service.admin("DELETE /notes/1").await.0, 404);
    // Users do not reach them.
    assert_eq!(service.http("DELETE /notes/1", "").await.0, 404);
}
