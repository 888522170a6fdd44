//! A provider's model as a capability of this node.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sedge_base::{Cancel, ErrorKind};
use sedge_capability::{
    Budgets, Capability, Descriptor, Failure, Handle, Idempotence, Kind, Name, Outcome, Task, Usage,
};
use sedge_trust::Rung;
use serde_json::json;
use tokio::sync::mpsc;

use super::decoder::{Decoder, unreadable};
use super::file::{Offered, Preset};
use super::link::Link;
use crate::chat::ChatInput;
use crate::embed::{EmbedInput, EmbedOutput};
use crate::providers::Request;
use crate::worker::{Done, Message, Relay, Settings, Until};

/// How many pieces of an answer wait for a slow reader before the provider has to wait, too.
const AHEAD: usize = 16;

/// A provider's model as a capability of this node.
///
/// Its chunks are pieces of text, or one [`EmbedOutput`] in JSON. The end's detail has `provider`,
/// `model`, and of a conversation `finish_reason` (`stop`, `length`, `tool_calls` or
/// `content_filter`) and, when the model asks for tools, `tool_calls`.
#[derive(Debug)]
struct RemoteModel {
    descriptor: Arc<Descriptor>,
    link: Arc<Link>,
    /// What the provider calls it.
    model: String,
    preset: Preset,
    takes: Takes,
    settings: Settings,
}

/// What a model takes beside text.
#[derive(Debug, Clone, Copy)]
struct Takes {
    tools: bool,
    images: bool,
}

/// Returns the capability for a model that the owner has named.
pub(crate) fn open(name: Name, offered: Offered, link: &Arc<Link>, settings: Settings) -> Handle {
    let Offered { model, kind, context, tools, images, preset } = offered;
    let is_chat = kind == Kind::Chat;
    let takes = Takes { tools, images };
    let mut labels =
        vec![("provider", link.provider.clone()), ("provider.api", link.api.name.to_owned())];
    if is_chat {
        labels.push(("model.tools", tools.to_string()));
        labels.push(("model.images", images.to_string()));
    }
    labels.extend(context.map(|it| ("model.context", it.to_string())));
    let provider = &link.provider;
    let summary = if is_chat {
        format!("Answers conversations with {model} of {provider}, which is not of this swarm.")
    } else {
        format!("Turns texts into vectors with {model} of {provider}, which is not of this swarm.")
    };
    let text = json!({ "type": "string", "contentMediaType": "text/plain; charset=utf-8" });
    let (input, output) = if is_chat {
        (ChatInput::rich_json_schema(), text)
    } else {
        (EmbedInput::json_schema(), EmbedOutput::json_schema())
    };
    let descriptor = Descriptor {
        name,
        kind,
        summary,
        input,
        output,
        labels: labels.into_iter().map(|(label, value)| (label.to_owned(), value)).collect(),
        limits: Budgets::default(),
        // Asked twice is paid twice.
        idempotence: Idempotence::Once,
        rung: Rung::Attested,
        content: None,
    };
    let (descriptor, link) = (Arc::new(descriptor), Arc::clone(link));
    Arc::new(RemoteModel { descriptor, link, model, preset, takes, settings })
}

#[async_trait]
impl Capability for RemoteModel {
    fn descriptor(&self) -> Arc<Descriptor> {
        Arc::clone(&self.descriptor)
    }

    async fn run(&self, task: Task) -> Result<Outcome, Failure> {
        let until = Until::of(&task, &self.settings.clock)?;
        let asked = self.asked(&task)?;
        let scope = &self.settings.scope;
        if scope.cancel().is_cancelled() {
            return Err(Failure::new(ErrorKind::Unavailable, "stopping", "the node is stopping"));
        }
        let (sink, outcome) = Outcome::channel();
        let (sender, receiver) = mpsc::channel(AHEAD);
        let gone = Cancel::new();
        let stop = gone.clone();
        let relay =
            Relay::new(receiver, Box::new(move || stop.cancel()), until, task.budgets.output);
        let (link, model) = (Arc::clone(&self.link), self.model.clone());
        scope.spawn("provider's answer", async move |cancel| {
            let asking = async {
                tokio::select! {
                    biased;
                    // What is not waited for any more is not paid for any longer than needed.
                    () = gone.cancelled() => {}
                    done = ask(&link, &model, asked, &sender) => {
                        let done = done.map_err(|it| link.without_key(it));
                        // A closed channel means that nobody listens any more.
                        sender.send(Message::Done(done)).await.ok();
                    }
                }
                drop(sender);
            };
            tokio::join!(relay.run(sink, cancel), asking);
        });
        Ok(outcome)
    }
}

/// What goes to the provider.
enum Asked {
    Conversation(Request),
    Texts(Request, usize),
}

impl RemoteModel {
    /// Reads the input and writes the request; the owner's presets fill what is absent.
    fn asked(&self, task: &Task) -> Result<Asked, Failure> {
        let invalid = |kind, err: String| Failure::new(kind, "invalid_input", err);
        let wire = self.link.api.wire;
        if self.descriptor.kind == Kind::Embedding {
            let input = EmbedInput::read(&task.input)
                .map_err(|err| invalid(err.kind(), err.to_string()))?;
            let count = input.texts.len();
            let request = wire.embed(&self.model, &input.texts).ok_or_else(|| {
                let text = format!("`{}` has no models for vectors", self.link.api.name);
                Failure::new(ErrorKind::Unsupported, "no_embeddings", text)
            })?;
            return Ok(Asked::Texts(request, count));
        }
        let input =
            ChatInput::read(&task.input).map_err(|err| invalid(err.kind(), err.to_string()))?;
        for (needed, taken, what) in [
            (input.needs_tools(), self.takes.tools, "tools"),
            (input.needs_eyes(), self.takes.images, "images"),
        ] {
            if needed && !taken {
                let text = format!("`{what}` are not supported by this model");
                return Err(Failure::new(ErrorKind::Invalid, "unsupported_parameter", text));
            }
        }
        let input = self.preset.fill(input, task.budgets.tokens);
        Ok(Asked::Conversation(wire.chat(&self.model, &input)?))
    }
}

async fn ask(
    link: &Link,
    model: &str,
    asked: Asked,
    pieces: &mpsc::Sender<Message>,
) -> Result<Done, Failure> {
    let mut done = match asked {
        Asked::Conversation(request) => converse(link, &request, pieces).await?,
        Asked::Texts(request, count) => embed(link, &request, count, pieces).await?,
    };
    done.detail.insert("model".to_owned(), json!(model));
    done.detail.insert("provider".to_owned(), json!(link.provider));
    Ok(done)
}

async fn converse(
    link: &Link,
    request: &Request,
    pieces: &mpsc::Sender<Message>,
) -> Result<Done, Failure> {
    let answer = link.send(request).await?;
    let mut answer = link.stream(answer).await?;
    let mut decoder = Decoder::new(&link.provider, link.api);
    while !decoder.is_ended() {
        let piece = match link.piece(&mut answer).await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            // Whoever has said everything may hang up as they like.
            Err(_) if decoder.is_whole() => break,
            Err(failure) => return Err(failure),
        };
        hand_out(decoder.push(&piece)?, pieces).await;
    }
    let (text, usage, detail) = decoder.finish()?;
    hand_out(text, pieces).await;
    Ok(Done { usage, detail, profile: None })
}

async fn embed(
    link: &Link,
    request: &Request,
    count: usize,
    pieces: &mpsc::Sender<Message>,
) -> Result<Done, Failure> {
    let answer = link.send(request).await?;
    let body = link.json(answer).await?;
    let output = link.api.wire.vectors(&body).filter(|it| it.vectors.len() == count);
    let Some(output) = output else {
        return Err(unreadable(&link.provider, "it has not one vector for each text"));
    };
    let json = serde_json::to_vec(&output)
        .map_err(|err| Failure::new(ErrorKind::Internal, "unwritable_output", err))?;
    let usage = Usage { prompt_tokens: Some(output.prompt_tokens), ..Usage::default() };
    // A closed channel means that nobody listens any more.
    pieces.send(Message::Piece(Bytes::from(json))).await.ok();
    Ok(Done { usage, ..Done::default() })
}

async fn hand_out(text: String, pieces: &mpsc::Sender<Message>) {
    if !text.is_empty() {
        // A closed channel means that nobody listens: the stop is on its way.
        pieces.send(Message::Piece(Bytes::from(text))).await.ok();
    }
}
