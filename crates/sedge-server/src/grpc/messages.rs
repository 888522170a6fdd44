//! The messages of `proto/nexus.proto` that this door reads and writes; what it does not read of a
//! message is skipped.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use prost::{Message, Oneof};
use sedge_base::Timestamp;
use sedge_edges as edges;

/// What an edge says.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EdgeMessage {
    #[prost(oneof = "Up", tags = "1, 2, 3, 4, 5, 6")]
    pub(super) message: Option<Up>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Up {
    #[prost(message, tag = "1")]
    Register(Register),
    #[prost(message, tag = "2")]
    Heartbeat(Heartbeat),
    #[prost(message, tag = "3")]
    ToolResult(ToolResult),
    #[prost(message, tag = "4")]
    Event(Skipped),
    #[prost(message, tag = "5")]
    ChannelInbound(Skipped),
    #[prost(message, tag = "6")]
    ChannelAck(Skipped),
}

/// What an edge is told.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CoreMessage {
    #[prost(oneof = "Down", tags = "1, 2, 3, 4")]
    pub(super) message: Option<Down>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Down {
    #[prost(message, tag = "1")]
    Registered(Registered),
    #[prost(message, tag = "2")]
    ToolRequest(ToolRequest),
    #[prost(message, tag = "3")]
    ToolCancel(ToolCancel),
    #[prost(message, tag = "4")]
    Event(CoreEvent),
}

/// A message whose fields nobody here asks for.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Skipped {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Register {
    #[prost(string, tag = "1")]
    pub(super) edge_id: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) auth_token: String,
    #[prost(message, repeated, tag = "4")]
    pub(super) tools: Vec<ToolDefinition>,
    #[prost(string, repeated, tag = "5")]
    pub(super) channel_types: Vec<String>,
    #[prost(string, tag = "7")]
    pub(super) version: String,
    #[prost(map = "string, string", tag = "8")]
    pub(super) metadata: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ToolDefinition {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) description: String,
    #[prost(string, tag = "3")]
    pub(super) input_schema: String,
    #[prost(bool, tag = "4")]
    pub(super) requires_approval: bool,
    #[prost(int32, tag = "5")]
    pub(super) timeout_seconds: i32,
    #[prost(bool, tag = "6")]
    pub(super) produces_artifacts: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Registered {
    #[prost(bool, tag = "1")]
    pub(super) success: bool,
    #[prost(string, tag = "2")]
    pub(super) error: String,
    #[prost(string, tag = "3")]
    pub(super) edge_id: String,
    #[prost(int32, tag = "4")]
    pub(super) heartbeat_interval_seconds: i32,
    #[prost(string, tag = "5")]
    pub(super) core_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Heartbeat {
    #[prost(message, optional, tag = "3")]
    pub(super) metrics: Option<Metrics>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Metrics {
    #[prost(int32, tag = "1")]
    pub(super) active_tool_count: i32,
    #[prost(float, tag = "2")]
    pub(super) cpu_percent: f32,
    #[prost(int64, tag = "3")]
    pub(super) memory_bytes: i64,
    #[prost(int64, tag = "4")]
    pub(super) uptime_seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ToolRequest {
    #[prost(string, tag = "1")]
    pub(super) execution_id: String,
    #[prost(string, tag = "4")]
    pub(super) tool_name: String,
    #[prost(string, tag = "5")]
    pub(super) input: String,
    #[prost(int32, tag = "6")]
    pub(super) timeout_seconds: i32,
    #[prost(bool, tag = "7")]
    pub(super) approved: bool,
    #[prost(string, tag = "9")]
    pub(super) approval: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ToolResult {
    #[prost(string, tag = "1")]
    pub(super) execution_id: String,
    #[prost(string, tag = "2")]
    pub(super) content: String,
    #[prost(bool, tag = "3")]
    pub(super) is_error: bool,
    #[prost(int64, tag = "4")]
    pub(super) duration_ms: i64,
    #[prost(message, repeated, tag = "5")]
    pub(super) artifacts: Vec<Artifact>,
    #[prost(string, tag = "6")]
    pub(super) error_details: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Artifact {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) kind: String,
    #[prost(string, tag = "3")]
    pub(super) mime_type: String,
    #[prost(string, tag = "4")]
    pub(super) filename: String,
    #[prost(int64, tag = "5")]
    pub(super) size: i64,
    #[prost(string, tag = "6")]
    pub(super) reference: String,
    #[prost(bytes = "vec", tag = "7")]
    pub(super) data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ToolCancel {
    #[prost(string, tag = "1")]
    pub(super) execution_id: String,
    #[prost(string, tag = "2")]
    pub(super) reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CoreEvent {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
}

impl CoreEvent {
    /// `CORE_EVENT_TYPE_SHUTDOWN`.
    pub(super) const SHUTDOWN: i32 = 4;
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetEdgeStatusRequest {
    #[prost(string, tag = "1")]
    pub(super) edge_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetEdgeStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) status: Option<EdgeStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListEdgesRequest {
    #[prost(int32, tag = "1")]
    pub(super) page_size: i32,
    #[prost(string, tag = "2")]
    pub(super) page_token: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListEdgesResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) edges: Vec<EdgeStatus>,
    #[prost(string, tag = "2")]
    pub(super) next_page_token: String,
    #[prost(int32, tag = "3")]
    pub(super) total_count: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EdgeStatus {
    #[prost(string, tag = "1")]
    pub(super) edge_id: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(int32, tag = "3")]
    pub(super) connection_status: i32,
    #[prost(message, optional, tag = "4")]
    pub(super) connected_at: Option<Moment>,
    #[prost(message, optional, tag = "5")]
    pub(super) last_heartbeat: Option<Moment>,
    #[prost(string, repeated, tag = "6")]
    pub(super) tools: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    pub(super) channel_types: Vec<String>,
    #[prost(message, optional, tag = "8")]
    pub(super) metrics: Option<Metrics>,
    #[prost(string, tag = "9")]
    pub(super) version: String,
    #[prost(map = "string, string", tag = "10")]
    pub(super) metadata: HashMap<String, String>,
}

impl EdgeStatus {
    /// `EDGE_CONNECTION_STATUS_CONNECTED`.
    pub(super) const CONNECTED: i32 = 1;
    /// `EDGE_CONNECTION_STATUS_DISCONNECTED`.
    pub(super) const DISCONNECTED: i32 = 2;
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Moment {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        let (seconds, rest) = (at.as_millis() / 1000, at.as_millis() % 1000);
        let nanos = i32::try_from(rest * 1_000_000).unwrap_or(0);
        Self { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos }
    }
}

impl From<Register> for edges::Announced {
    fn from(register: Register) -> Self {
        let Register {
            edge_id: id, name, tools, channel_types: channels, version, metadata, ..
        } = register;
        let metadata = metadata.into_iter().collect::<BTreeMap<_, _>>();
        let tools = tools.into_iter().map(Into::into).collect();
        Self { id, name, version, tools, channels, metadata }
    }
}

impl From<ToolDefinition> for edges::AnnouncedTool {
    fn from(tool: ToolDefinition) -> Self {
        let ToolDefinition { name, description, input_schema, requires_approval, .. } = tool;
        let timeout = u64::try_from(tool.timeout_seconds).ok().map(Duration::from_secs);
        let produces_artifacts = tool.produces_artifacts;
        Self { name, description, input_schema, requires_approval, timeout, produces_artifacts }
    }
}

impl From<Metrics> for edges::EdgeMetrics {
    fn from(metrics: Metrics) -> Self {
        let count = |it: i64| u64::try_from(it).unwrap_or(0);
        Self {
            active_tools: u32::try_from(metrics.active_tool_count).unwrap_or(0),
            cpu_percent: f64::from(metrics.cpu_percent),
            memory_bytes: count(metrics.memory_bytes),
            uptime_s: count(metrics.uptime_seconds),
        }
    }
}

impl From<edges::EdgeMetrics> for Metrics {
    fn from(metrics: edges::EdgeMetrics) -> Self {
        let count = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
        #[expect(clippy::cast_possible_truncation, reason = "a percentage that came as f32")]
        let cpu_percent = metrics.cpu_percent as f32;
        Self {
            active_tool_count: i32::try_from(metrics.active_tools).unwrap_or(i32::MAX),
            cpu_percent,
            memory_bytes: count(metrics.memory_bytes),
            uptime_seconds: count(metrics.uptime_s),
        }
    }
}

impl From<ToolResult> for edges::ToolResult {
    fn from(result: ToolResult) -> Self {
        let ToolResult { execution_id: execution, content, is_error: failed, .. } = result;
        let took = Duration::from_millis(u64::try_from(result.duration_ms).unwrap_or(0));
        let artifacts = result.artifacts.into_iter().map(Into::into).collect();
        Self { execution, content, failed, details: result.error_details, took, artifacts }
    }
}

impl From<Artifact> for edges::Artifact {
    fn from(artifact: Artifact) -> Self {
        let Artifact { id, kind, mime_type, filename, size, reference, data } = artifact;
        let size = u64::try_from(size).unwrap_or(0);
        Self { id, kind, mime_type, filename, size, reference, data }
    }
}

impl From<edges::Down> for CoreMessage {
    fn from(down: edges::Down) -> Self {
        let message = match down {
            edges::Down::Run(edges::ToolRequest { execution, tool, input, timeout, approval }) => {
                // Never less than what it has, in whole seconds.
                let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
                Down::ToolRequest(ToolRequest {
                    execution_id: execution,
                    tool_name: tool,
                    input,
                    timeout_seconds: i32::try_from(seconds).unwrap_or(i32::MAX),
                    approved: approval.is_some(),
                    approval: approval.unwrap_or_default(),
                })
            }
            edges::Down::Cancel { execution, reason } => {
                Down::ToolCancel(ToolCancel { execution_id: execution, reason: reason.to_owned() })
            }
        };
        Self { message: Some(message) }
    }
}

impl From<ToolRequest> for edges::ToolRequest {
    /// What the node says about an approval is not read: only what a person signed is handed on.
    fn from(request: ToolRequest) -> Self {
        let ToolRequest { execution_id, tool_name, input, timeout_seconds, approval, .. } = request;
        let timeout = Duration::from_secs(u64::try_from(timeout_seconds).unwrap_or(0));
        let approval = (!approval.is_empty()).then_some(approval);
        Self { execution: execution_id, tool: tool_name, input, timeout, approval }
    }
}

impl Register {
    /// Writes what an edge of ours says of itself, with the token that it shows.
    pub(super) fn of(announced: edges::Announced, token: String) -> Self {
        let edges::Announced { id, name, version, tools, channels, metadata } = announced;
        Self {
            edge_id: id,
            name,
            auth_token: token,
            tools: tools.into_iter().map(Into::into).collect(),
            channel_types: channels,
            version,
            metadata: metadata.into_iter().collect(),
        }
    }
}

impl From<edges::AnnouncedTool> for ToolDefinition {
    fn from(tool: edges::AnnouncedTool) -> Self {
        let timeout = tool.timeout.map_or(0, |it| it.as_secs() + u64::from(it.subsec_nanos() > 0));
        Self {
            name: tool.name,
            description: tool.description,
            input_schema: tool.input_schema,
            requires_approval: tool.requires_approval,
            timeout_seconds: i32::try_from(timeout).unwrap_or(i32::MAX),
            produces_artifacts: tool.produces_artifacts,
        }
    }
}

impl From<edges::ToolResult> for ToolResult {
    fn from(result: edges::ToolResult) -> Self {
        let edges::ToolResult { execution, content, failed, details, took, artifacts } = result;
        Self {
            execution_id: execution,
            content,
            is_error: failed,
            duration_ms: i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
            artifacts: artifacts.into_iter().map(Into::into).collect(),
            error_details: details,
        }
    }
}

impl From<edges::Artifact> for Artifact {
    fn from(artifact: edges::Artifact) -> Self {
        let edges::Artifact { id, kind, mime_type, filename, size, reference, data } = artifact;
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        Self { id, kind, mime_type, filename, size, reference, data }
    }
}

impl From<edges::EdgeView> for EdgeStatus {
    fn from(view: edges::EdgeView) -> Self {
        let edges::EdgeView { id, name, version, tools, channels, metadata, .. } = view;
        Self {
            edge_id: id.to_string(),
            name,
            connection_status: Self::CONNECTED,
            connected_at: Some(view.connected_at.into()),
            last_heartbeat: Some(view.last_heard.into()),
            tools: tools.into_iter().map(|it| it.name).collect(),
            channel_types: channels,
            metrics: view.metrics.map(Into::into),
            version,
            metadata: metadata.into_iter().collect(),
        }
    }
}

/// Feeds a message to the readers of both ends; returns whether an edge registers by it or says how it is, or is asked
/// to run something.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(bytes: &[u8]) -> bool {
    drop(GetEdgeStatusRequest::decode(bytes));
    let up = match EdgeMessage::decode(bytes).ok().and_then(|it| it.message) {
        Some(Up::Register(it)) => edges::Registration::try_from(edges::Announced::from(it)).is_ok(),
        Some(Up::Heartbeat(it)) => it.metrics.map(edges::EdgeMetrics::from).is_some(),
        Some(Up::ToolResult(it)) => {
            drop(edges::ToolResult::from(it));
            false
        }
        Some(Up::Event(_) | Up::ChannelInbound(_) | Up::ChannelAck(_)) | None => false,
    };
    let down = match CoreMessage::decode(bytes).ok().and_then(|it| it.message) {
        Some(Down::ToolRequest(it)) => {
            let edges::ToolRequest { tool, approval, .. } = it.into();
            let approval = approval.map(|it| sedge_trust::Approval::read(it.as_bytes()).is_ok());
            approval.unwrap_or(!tool.is_empty())
        }
        Some(Down::Registered(_) | Down::ToolCancel(_) | Down::Event(_)) | None => false,
    };
    up || down
}
