//! What an operator does. To be reached from the machine itself, or with a token.

pub mod command;
pub mod switch;
pub mod token;

use std::path::PathBuf;

use seawall::api::{Error, Request};
use seawall::app::{BoxError, Setup};
use shop_api::v1;

use crate::config::{Config, Degrade};

/// Puts the operator's service together.
///
/// # Errors
/// None.
pub async fn set_up(app: Setup<Config>) -> Result<(), BoxError> {
    let file = app.config().operator.file.clone();
    app.service(v1::admin::service(Service { file: file.into() }));
    Ok(())
}

struct Service {
    file: PathBuf,
}

impl v1::Admin for Service {
    async fn get_degrade(&self, _: Request<v1::GetDegradeRequest>) -> Result<v1::Degrade, Error> {
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || switch::read(&file));
        let read = read.await.map_err(Error::internal)?;
        let degrade = read.map_err(Error::internal)?;
        Ok(v1::Degrade {
            recommendations: degrade.recommendations,
        })
    }

    async fn set_degrade(
        &self,
        request: Request<v1::SetDegradeRequest>,
    ) -> Result<v1::Degrade, Error> {
        let wanted = request.into_message().degrade.unwrap_or_default();
        let degrade = Degrade {
            recommendations: wanted.recommendations,
        };
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || switch::write(&file, degrade));
        let written = written.await.map_err(Error::internal)?;
        written.map_err(Error::internal)?;
        tracing::warn!(degrade.recommendations, "an operator switched");
        Ok(wanted)
    }
}
