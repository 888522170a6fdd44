//! Functions on one node (seed 000, `EdgeRuntime`).

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;
use sedge_base::{ErrorKind, NodeId, TaskId};
use sedge_capability::{Budgets, Failure, Kind, Media, Name, Usage};
use sedge_node::{Ask, Measured, VersionHeld};
use serde::{Deserialize, Serialize};

use crate::cluster::{EdgeCluster, useless};
use crate::function::EdgeFunction;
use crate::metrics::InvocationRecord;
use crate::record::{self, FunctionRecord};

/// Runs functions on one node, here or on another machine.
#[derive(Debug, Clone)]
pub struct EdgeRuntime {
    cluster: EdgeCluster,
    node_id: String,
    member: NodeId,
}

/// What an invocation gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Invoked {
    /// What the function wrote.
    pub output: Bytes,
    /// The task; its receipt knows it by this.
    pub task: TaskId,
    /// What it used.
    pub usage: Usage,
}

/// Why an invocation gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// The node has no such function. In the words of the older API.
    #[error("Function not found: {id}")]
    NotFound {
        /// Which.
        id: String,
    },
    /// It failed, was stopped, or could not be reached. In the words of the older API, where this is an
    /// `EdgeExecutionError`.
    #[error("Edge function failed: {cause}")]
    Failed {
        /// Why.
        cause: Failure,
    },
}

impl InvokeError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Failed { cause } => cause.kind,
        }
    }

    /// Returns the stable name of this very failure.
    pub fn code(&self) -> &str {
        match self {
            Self::NotFound { .. } => "unknown_function",
            Self::Failed { cause } => &cause.code,
        }
    }
}

/// A function as it lies on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionListed {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// The most memory of one run, in MiB; `None` where the node's own limit counts.
    pub memory_mb: Option<u64>,
    /// The longest time of one run, in seconds; `None` where the node's own limit counts.
    pub timeout_seconds: Option<f64>,
    /// The environment that it sees.
    pub environment: BTreeMap<String, String>,
    /// What a node must have to get it.
    pub required_capabilities: Vec<String>,
}

/// How a function fared on its node since it was brought there, whoever asked for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionStats {
    /// Invocations that ended.
    pub calls: u64,
    /// What is told of them; nothing when there was none.
    #[serde(flatten)]
    pub of_calls: Option<CallStats>,
}

/// What is told of invocations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CallStats {
    /// Those that gave an answer.
    pub successes: u64,
    /// Those that gave none.
    pub errors: u64,
    /// Mean time of the successes, in milliseconds; 0 when there was none.
    pub avg_latency_ms: f64,
    /// Those before the first success, and that success.
    pub cold_starts: u64,
}

/// What a node did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeSummary {
    /// The node.
    pub node_id: String,
    /// Functions that lie there.
    pub functions_deployed: usize,
    /// Successes of the functions that lie there now.
    pub total_invocations: u64,
    /// Cold invocations of the functions that lie there now.
    pub cold_starts: u64,
    /// Functions that have succeeded once.
    pub warm_functions: usize,
}

impl EdgeRuntime {
    pub(crate) const fn new(cluster: EdgeCluster, node_id: String, member: NodeId) -> Self {
        Self { cluster, node_id, member }
    }

    /// Returns the node's id in the cluster.
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// Brings a function here in place of one of the same id, whose counts are forgotten.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the node drains, is away, full, or has not what the function requires.
    pub async fn deploy(&self, function: &EdgeFunction) -> Result<(), Failure> {
        let options = function.limits.options().map_err(useless)?;
        let Some(seen) = self.cluster.find(&self.node_id).await? else {
            let text = format!("node {} is not in the cluster any more", self.node_id);
            return Err(Failure::new(ErrorKind::NotFound, "unknown_node", text));
        };
        self.cluster.land(&seen, function, &options).await?;
        self.cluster.note(function, [self.member].into()).await
    }

    /// Takes a function away from here; returns whether it was here.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the node cannot be reached.
    pub async fn undeploy(&self, id: &Name) -> Result<bool, Failure> {
        let was = self.cluster.node.undeploy_on(self.member, id).await?;
        let _turn = self.cluster.turn().await?;
        let records: Vec<FunctionRecord> = record::all(&self.cluster.node).await?;
        if let Some(mut record) = records.into_iter().find(|it| it.id == *id)
            && record.placed.remove(&self.member)
        {
            if record.placed.is_empty() {
                record::forget::<FunctionRecord>(&self.cluster.node, id.as_str()).await?;
            } else {
                record::put(&self.cluster.node, &record).await?;
            }
        }
        Ok(was)
    }

    /// Runs a function here and counts it; it is stopped in the middle when its time is over.
    ///
    /// # Errors
    ///
    /// See [`InvokeError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future asks the node to stop it.
    pub async fn invoke(&self, id: &str, input: Bytes) -> Result<Invoked, InvokeError> {
        let not_found = || InvokeError::NotFound { id: id.to_owned() };
        let name: Name = id.parse().map_err(|_| not_found())?;
        if !self.functions().contains(&name) {
            return Err(not_found());
        }
        let ask = Ask {
            capability: name,
            kind: Some(Kind::Function),
            input,
            media: Media::Plain,
            budgets: Budgets::default(),
            on: Some(self.member.to_string()),
            pass: None,
        };
        let began = tokio::time::Instant::now();
        let ran = async {
            let answer = self.cluster.node.run(ask).await?;
            let (output, end) = answer.outcome.collect().await;
            match end.failure {
                None => {
                    let (output, task, usage) = (output.into(), answer.task, end.usage);
                    Ok(Invoked { output, task, usage })
                }
                Some(failure) => Err(failure),
            }
        };
        let ran = ran.await;
        let record = InvocationRecord {
            error: ran.as_ref().err().map_or_else(String::new, ToString::to_string),
            ..InvocationRecord::new(
                (id, &*self.node_id),
                began.elapsed().as_secs_f64() * 1000.0,
                ran.is_ok(),
                self.cluster.now(),
            )
        };
        self.cluster.metrics().record(&record);
        ran.map_err(|cause| InvokeError::Failed { cause })
    }

    /// Runs a function without any input, whatever comes of it, so that the next invocation finds it warm; returns
    /// whether it is here. It is warm when it succeeded.
    pub async fn warm_up(&self, id: &str) -> bool {
        !matches!(self.invoke(id, Bytes::new()).await, Err(InvokeError::NotFound { .. }))
    }

    /// Returns the functions that lie here.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the node cannot be reached.
    pub async fn list_functions(&self) -> Result<Vec<FunctionListed>, Failure> {
        let records: Vec<FunctionRecord> = record::all(&self.cluster.node).await?;
        let held = self.held().await?.into_iter();
        let listed = held.map(|(id, held)| {
            let known = records.iter().find(|it| it.id == id && it.content == held.content);
            let named = known.map(|it| it.limits.name.clone()).filter(|it| !it.is_empty());
            let options = held.options;
            FunctionListed {
                name: named.unwrap_or_else(|| id.to_string()),
                id: id.to_string(),
                memory_mb: options.limits.memory.map(|it| it.as_bytes() >> 20),
                timeout_seconds: options.limits.time_ms.map(|it| it as f64 / 1000.0),
                environment: options.env,
                required_capabilities: options.needs.iter().map(ToString::to_string).collect(),
            }
        });
        Ok(listed.collect())
    }

    /// Returns how many functions lie here.
    pub fn function_count(&self) -> usize {
        self.functions().len()
    }

    /// Returns whether a function has succeeded once since it was brought here.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the node cannot be reached.
    pub async fn is_warm(&self, id: &Name) -> Result<bool, Failure> {
        let held = self.cluster.node.version_on(self.member, id).await?;
        Ok(held.is_some_and(|it| successes(&it.measured) > 0))
    }

    /// Returns how a function fared here; no calls when it is not here.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the node cannot be reached.
    pub async fn get_function_stats(&self, id: &Name) -> Result<FunctionStats, Failure> {
        let held = self.cluster.node.version_on(self.member, id).await?;
        Ok(stats(&held.map(|it| it.measured).unwrap_or_default()))
    }

    /// Returns what the functions that lie here did.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the node cannot be reached.
    pub async fn summary(&self) -> Result<RuntimeSummary, Failure> {
        let held = self.held().await?;
        let measured = || held.iter().map(|it| &it.1.measured);
        Ok(RuntimeSummary {
            node_id: self.node_id.clone(),
            functions_deployed: held.len(),
            total_invocations: measured().map(successes).sum(),
            cold_starts: measured().map(|it| it.cold).sum(),
            warm_functions: measured().filter(|it| successes(it) > 0).count(),
        })
    }

    /// Returns the successes of the functions that lie here.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the node cannot be reached.
    pub async fn total_invocations(&self) -> Result<u64, Failure> {
        Ok(self.summary().await?.total_invocations)
    }

    /// Returns the cold invocations of the functions that lie here.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the node cannot be reached.
    pub async fn cold_start_count(&self) -> Result<u64, Failure> {
        Ok(self.summary().await?.cold_starts)
    }

    fn functions(&self) -> Vec<Name> {
        self.cluster
            .node
            .describe(&self.member.to_string())
            .map_or_else(|_| Vec::new(), |it| it.functions)
    }

    /// Asks the node what it has, and how each fares.
    async fn held(&self) -> Result<Vec<(Name, VersionHeld)>, Failure> {
        let asking = self.functions().into_iter().map(|id| async {
            let held = self.cluster.node.version_on(self.member, &id).await?;
            Ok(held.map(|it| (id, it)))
        });
        let held: Result<Vec<_>, Failure> = join_all(asking).await.into_iter().collect();
        Ok(held?.into_iter().flatten().collect())
    }
}

const fn successes(measured: &Measured) -> u64 {
    measured.calls.saturating_sub(measured.failed)
}

fn stats(measured: &Measured) -> FunctionStats {
    let successes = successes(measured);
    let avg_latency_ms = match successes {
        0 => 0.0,
        some => measured.total_us as f64 / 1000.0 / some as f64,
    };
    let of_calls = CallStats {
        successes,
        errors: measured.failed,
        avg_latency_ms,
        cold_starts: measured.cold,
    };
    FunctionStats { calls: measured.calls, of_calls: (measured.calls > 0).then_some(of_calls) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statistics_have_the_older_keys_and_one_only_when_there_was_no_call() {
        let told = |measured: &Measured| serde_json::to_value(stats(measured)).unwrap();
        assert_eq!(told(&Measured::default()), json!({"calls": 0}));
        let measured =
            Measured { calls: 3, failed: 1, total_us: 3_000, cold: 2, ..Measured::default() };
        assert_eq!(
            told(&measured),
            json!({
                "calls": 3, "successes": 2, "errors": 1, "avg_latency_ms": 1.5, "cold_starts": 2,
            })
        );
        let text = told(&measured).to_string();
        assert_eq!(serde_json::from_str::<FunctionStats>(&text).unwrap(), stats(&measured));
        let none = serde_json::from_str::<FunctionStats>(r#"{"calls":0}"#).unwrap();
        assert_eq!(none.of_calls, None);
    }

    #[test]
    fn failures_speak_as_the_older_api_does() {
        let missing = InvokeError::NotFound { id: "fn-9".to_owned() };
        assert_eq!(missing.to_string(), "Function not found: fn-9");
        let cause = Failure::new(ErrorKind::Timeout, "timeout", "it took more than 1s");
        let failed = InvokeError::Failed { cause };
        assert_eq!(failed.to_string(), "Edge function failed: it took more than 1s");
        assert_eq!((failed.kind(), failed.code()), (ErrorKind::Timeout, "timeout"));
    }
}
