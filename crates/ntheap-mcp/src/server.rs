//! The protocol: which tools there are, and how they are called.

use std::{io, path::PathBuf, sync::Arc};

use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequestParams, CallToolResponse, Implementation, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};

use crate::{
    answer::refusal,
    definitions,
    desk::{Desk, ServerOptions},
    tools,
};

/// The tools on the dumps below some folders.
#[derive(Debug, Clone)]
pub struct Server {
    desk: Arc<Desk>,
}

impl Server {
    /// A server that reads below these folders and nowhere else.
    ///
    /// # Errors
    /// If one of the folders is none, or none is named.
    pub fn new(folders: &[PathBuf], options: ServerOptions) -> io::Result<Self> {
        let desk = Arc::new(Desk::new(folders, options)?);
        Ok(Server { desk })
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut config = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        config.server_info = Implementation::new("ntheap", env!("CARGO_PKG_VERSION"));
        config.instructions = Some(definitions::INSTRUCTIONS.to_owned());
        config
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        definitions::tools()
            .into_iter()
            .find(|tool| tool.name == name)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(definitions::tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::known(&request.name) else {
            return Err(ErrorData::invalid_params("there is no such tool", None));
        };
        let arguments = request.arguments.unwrap_or_default();
        let result = match self.desk.ask(tool, arguments).await {
            Ok((answer, start)) => answer.page(start),
            Err(fault) => refusal(&fault),
        };
        Ok(result.into())
    }
}

/// Serves over standard input and output until the input ends.
///
/// # Errors
/// If the streams can't be used, or the client speaks another protocol.
pub fn serve_stdio(server: Server) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let running = server.serve(rmcp::transport::stdio()).await;
        let running = running.map_err(|error| io::Error::other(error.to_string()))?;
        let ended = running.waiting().await;
        ended.map(drop).map_err(io::Error::other)
    });
    // Work that nobody waits for any more keeps no one.
    runtime.shutdown_background();
    result
}
