//! `sedge chat`.

use sedge_base::ErrorKind;
use sedge_capability::Kind;
use sedge_node::Offer;
use serde_json::{Value, json};

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{DIM, Ui};

/// Ask a model, wherever it is; the answer streams
#[derive(Debug, clap::Args)]
pub(crate) struct Chat {
    /// What to ask
    #[arg(required = true, num_args = 1.., value_name = "TEXT")]
    text: Vec<String>,
    /// The model; the first chat model that is offered unless told otherwise
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// The node that shall answer, by name or id
    #[arg(long, value_name = "NODE")]
    on: Option<String>,
    /// What the model is told beforehand
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// The most tokens of the answer
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    /// 0 is always the same answer, 2 is wild
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Makes a random answer repeatable
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// An answer as it came in.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The text.
    pub(crate) text: String,
    /// Who answered, as the node says.
    pub(crate) origin: Value,
    /// How many tokens went in and out.
    pub(crate) usage: Value,
}

impl Chat {
    /// Asks.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let model = match self.model {
            Some(model) => model,
            None => first_model(&api, self.on.as_deref())?,
        };
        let mut messages = Vec::new();
        if let Some(system) = &self.system {
            messages.push(json!({ "role": "system", "content": system }));
        }
        messages.push(json!({ "role": "user", "content": self.text.join(" ") }));
        let body = json!({
            "model": model,
            "messages": messages,
            "stream": true,
            "stream_options": { "include_usage": true },
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
        });
        let heard = hear(&api, &body, self.on.as_deref(), *ui)?;
        let Heard { text, origin, usage } = &heard;
        let record = json!({ "model": model, "text": text, "usage": usage, "sedge": origin });
        if ui.is_json() {
            ui.result(&record, String::new);
        } else {
            let speed = origin["tokens_per_second"].as_f64();
            let speed = speed.map_or_else(String::new, |it| format!(", {it:.0} tokens/s"));
            let node = origin["node_name"].as_str().unwrap_or("an unnamed node");
            let receipt = origin["receipt"].as_str().unwrap_or("none");
            let tokens = usage["completion_tokens"].as_u64().unwrap_or(0);
            ui.note(format_args!(
                "{DIM}{model} on {node}: {tokens} tokens{speed}, receipt {}{DIM:#}",
                receipt.get(..12).unwrap_or(receipt),
            ));
        }
        Ok(())
    }
}

/// Asks, and shows the answer while it comes in.
pub(crate) fn hear(api: &Api, body: &Value, on: Option<&str>, ui: Ui) -> Result<Heard, Failed> {
    let mut heard = Heard::default();
    let ended = api.chat(body, on, |event| {
        if let Some(text) = event["choices"][0]["delta"]["content"].as_str() {
            heard.text.push_str(text);
            if !ui.is_json() {
                ui.strange(text.as_bytes());
            }
        }
        if event["sedge"].is_object() {
            heard.origin = event["sedge"].clone();
        }
        if event["usage"].is_object() {
            heard.usage = event["usage"].clone();
        }
    });
    if !heard.text.is_empty() {
        ui.piece("\n");
    }
    ended.map(|()| heard)
}

/// Returns the chat model to ask when the person named none: one that is loaded comes first. What runs
/// outside of the swarm is asked by its name alone.
pub(crate) fn first_model(api: &Api, on: Option<&str>) -> Result<String, Failed> {
    let offers: Vec<Offer> = api.get("models")?;
    let there = |it: &Offer| {
        on.is_none_or(|on| it.node_name == on || it.node.to_string().starts_with(on))
    };
    let best = offers
        .into_iter()
        .filter(|it| it.descriptor.kind == Kind::Chat && there(it))
        .filter(|it| !it.descriptor.labels.contains_key("provider"))
        .min_by_key(|it| !it.ready);
    match best {
        Some(offer) => Ok(offer.descriptor.name.to_string()),
        None => Err(Failed::new(ErrorKind::NotFound, "no machine offers a chat model")
            .hint("`sedge up` without `--no-model` on one of them, or a provider's model by its name")),
    }
}
