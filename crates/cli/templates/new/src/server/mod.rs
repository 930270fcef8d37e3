//! What is served, and where. Both transports come from the definition, with every protection on;
//! a service of the definition is one line here, and HTTP that no definition describes (a web hook, a
//! page) is a route.

use api::{{crate}}::v1;
use seawall::app::Setup;

use crate::biz::notes::Store;
use crate::config::Config;
use crate::service;

/// Serves `{{crate}}.v1`: gRPC, and JSON over HTTP.
pub fn serve<S: Store>(app: &Setup<Config>, notes: service::notes::Notes<S>) {
    app.service(v1::notes::service(notes));
}
