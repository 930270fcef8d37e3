//! A client that knows nothing of the service but what reflection tells it, as grpcurl does.

use echo::{Echo, v1};
use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, Value};
use seawall::app::{App, Running};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_types::StatusExt as _;

/// Messages of a kind that is known when the call is made.
#[derive(Clone)]
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(to).unwrap();
        Ok(())
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        Ok(Some(DynamicMessage::decode(self.0.clone(), from).unwrap()))
    }
}

/// What has been learnt of a server.
struct Stranger {
    channel: Channel,
    pool: DescriptorPool,
}

async fn ask(channel: &Channel, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let mut client = ServerReflectionClient::new(channel.clone());
    let answers = client.server_reflection_info(only(request)).await;
    let answer: Option<ServerReflectionResponse> =
        answers.unwrap().into_inner().message().await.unwrap();
    answer.unwrap().message_response.unwrap()
}

fn only<T: Send + 'static>(one: T) -> impl futures_util::Stream<Item = T> + Send {
    futures_util::stream::iter([one])
}

impl Stranger {
    /// Asks for a service's file, and for each that it imports.
    async fn meet(channel: Channel, service: &str) -> Self {
        let mut files: Vec<FileDescriptorProto> = Vec::new();
        let mut questions = vec![MessageRequest::FileContainingSymbol(service.to_owned())];
        while let Some(question) = questions.pop() {
            let MessageResponse::FileDescriptorResponse(answer) = ask(&channel, question).await
            else {
                panic!("no file");
            };
            for file in answer.file_descriptor_proto {
                let file = FileDescriptorProto::decode(&*file).unwrap();
                if files.iter().all(|known| known.name != file.name) {
                    let imports = file.dependency.iter().cloned();
                    questions.extend(imports.map(MessageRequest::FileByFilename));
                    files.push(file);
                }
            }
        }
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_protos(files).unwrap();
        Self { channel, pool }
    }

    fn method(&self, name: &str) -> MethodDescriptor {
        let service = self.pool.get_service_by_name("echo.v1.Echo").unwrap();
        service.methods().find(|m| m.name() == name).unwrap()
    }

    /// Calls a method of any kind with one message, and collects what comes until it ends.
    async fn call(
        &self,
        name: &str,
        fields: &[(&str, Value)],
    ) -> (Vec<DynamicMessage>, Option<Status>) {
        let method = self.method(name);
        let mut message = DynamicMessage::new(method.input());
        for (field, value) in fields {
            message.set_field_by_name(field, value.clone());
        }
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let path = format!("/echo.v1.Echo/{name}").parse().unwrap();
        let (request, codec) = (Request::new(only(message)), Dynamic(method.output()));
        let mut replies = match grpc.streaming(request, path, codec).await {
            Ok(replies) => replies.into_inner(),
            Err(status) => return (Vec::new(), Some(status)),
        };
        let mut all = Vec::new();
        loop {
            match replies.message().await {
                Ok(Some(reply)) => all.push(reply),
                Ok(None) => return (all, None),
                Err(status) => return (all, Some(status)),
            }
        }
    }
}

async fn serve() -> (Running, Channel) {
    let addresses = ["http", "grpc", "admin"].map(|s| format!("{s}.address=127.0.0.1:0"));
    let arguments = addresses.iter().flat_map(|a| ["--set", a.as_str()]);
    let app = App::<()>::new("echo").environment([]).arguments(arguments);
    let running = app.launch(|app| async move {
        app.service(v1::echo::service(Echo));
        Ok(())
    });
    let running = running.await.unwrap();
    let address = running.addresses().grpc().unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    (running, endpoint.connect().await.unwrap())
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[tokio::test]
async fn only_what_is_served_is_listed() {
    let (running, channel) = serve().await;
    let question = MessageRequest::ListServices(String::new());
    let MessageResponse::ListServicesResponse(list) = ask(&channel, question).await else {
        panic!("no list");
    };
    let mut names: Vec<_> = list.service.into_iter().map(|s| s.name).collect();
    names.sort();
    // The definition of `words.type.v1.Match` is compiled in, and nobody serves it.
    let all = [
        "echo.v1.Echo",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ];
    assert_eq!(names, all);
    let mut health = HealthClient::new(channel);
    for service in ["", "echo.v1.Echo"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status.as_str_name(), "SERVING");
    }
    let request = HealthCheckRequest {
        service: "words.type.v1.Match".to_owned(),
    };
    assert_eq!(
        health.check(request).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(running.stop().await, 0);
}

#[tokio::test]
async fn a_stranger_can_call() {
    let (running, channel) = serve().await;
    let echo = Stranger::meet(channel, "echo.v1.Echo").await;
    for name in ["Say", "Join", "Chat"] {
        let (replies, failed) = echo.call(name, &[("text", text("hello"))]).await;
        assert!(failed.is_none(), "{name}: {failed:?}");
        assert_eq!(replies.len(), 1, "{name}");
        assert_eq!(
            *replies[0].get_field_by_name("text").unwrap(),
            text("hello")
        );
    }
    let (replies, failed) = echo
        .call(
            "Count",
            &[("to", Value::I32(5)), ("fail_at", Value::I32(3))],
        )
        .await;
    assert_eq!(replies.len(), 2);
    let details = failed.unwrap().get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "TOO_LOUD");
    running.stop().await;
}

#[tokio::test]
async fn a_stranger_can_read_errors() {
    let (running, channel) = serve().await;
    let echo = Stranger::meet(channel, "echo.v1.Echo").await;
    let (_, failed) = echo.call("Say", &[]).await;
    let failed = failed.unwrap();
    assert_eq!(failed.code(), Code::InvalidArgument);
    let details = failed.get_error_details();
    let told = details.error_info().unwrap();
    assert_eq!(
        (&*told.reason, &*told.domain),
        ("RULES_VIOLATED", "seawall")
    );
    assert_eq!(
        details.bad_request().unwrap().field_violations[0].field,
        "text"
    );

    let (_, failed) = echo.call("Fail", &[("reason", Value::EnumNumber(1))]).await;
    let failed = failed.unwrap();
    assert_eq!(
        (failed.code(), failed.message()),
        (Code::NotFound, "nobody is there")
    );
    let details = failed.get_error_details();
    let told = details.error_info().unwrap();
    assert_eq!((&*told.reason, &*told.domain), ("NOBODY_THERE", "echo.v1"));
    assert_eq!(told.metadata["reason"], "NOBODY_THERE");
    running.stop().await;
}
