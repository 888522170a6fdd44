//! `sedge artifact`.

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sedge_base::{ArtifactId, ByteSize, ErrorKind};
use sedge_node::{ArtifactList, ArtifactView, Digest, Fetched, Point};
use sedge_trust::seed::{ArtifactPointer, ArtifactType, Signed};
use serde_json::{Value, json};

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BOLD, DIM, Table, Ui, spoken};

/// The largest file that is read as a pointer, in bytes: far above what one has.
const POINTER_LIMIT: u64 = 64 << 10;

/// Keep large files by their content, and bring them from the machines that have them
#[derive(Debug, clap::Args)]
pub(crate) struct Artifact {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Store a file on this node, where it stays until it is removed
    Put {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Bring an artifact here from any machine that has it; goes on where it was cut
    Get {
        /// Its id, or a file with a signed pointer to it
        #[arg(value_name = "ID|POINTER")]
        what: String,
        /// Write it to this file too
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Let it stay until it is removed; otherwise it goes when its room is needed
        #[arg(long)]
        pin: bool,
    },
    /// List what this node has
    Ls,
    /// Tell the SHA-256 of one that this node has, by which receipts name content
    Digest {
        /// Its id
        #[arg(value_name = "ID")]
        id: ArtifactId,
    },
    /// Remove this node's copy
    Rm {
        /// Its id
        #[arg(value_name = "ID")]
        id: ArtifactId,
    },
    /// Sign a pointer to an artifact of this node: what it is and of which shape
    Point {
        /// Its id
        #[arg(value_name = "ID")]
        id: ArtifactId,
        /// What it is: q-table, memory-vectors, model-weights or trajectory
        #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
        artifact_type: ArtifactType,
        /// Its shape, such as 384 or 128x64
        #[arg(long, value_name = "TEXT", default_value = "")]
        dimensions: String,
        /// The file; the standard output when left out
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

impl Artifact {
    /// Does what its verb says.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        match self.verb {
            Verb::Put { file } => put(&api, &file, *ui),
            Verb::Get { what, output, pin } => get(&api, &what, output.as_deref(), pin, *ui),
            Verb::Ls => {
                let list: ArtifactList = api.get("artifacts")?;
                ui.result(&list, || words(&list));
                Ok(())
            }
            Verb::Digest { id } => {
                let digest: Digest = api.post(&format!("artifacts/{id}/digest"), &())?;
                ui.result(&digest, || format!("sha256 {}", digest.content));
                Ok(())
            }
            Verb::Rm { id } => {
                let removed: Value = api.delete(&format!("artifacts/{id}"))?;
                ui.result(&removed, || format!("removed {id}"));
                Ok(())
            }
            Verb::Point { id, artifact_type, dimensions, output } => {
                let point = Point { artifact_type, dimensions };
                let pointer: Signed<ArtifactPointer> =
                    api.post(&format!("artifacts/{id}/pointer"), &point)?;
                write_pointer(&pointer, output.as_deref(), *ui)
            }
        }
    }
}

fn put(api: &Api, path: &Path, ui: Ui) -> Result<(), Failed> {
    let unreadable = |err| Failed::io(&format!("cannot read {}", path.display()), &err);
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        let message = format!("{} is not a file", path.display());
        return Err(Failed::new(ErrorKind::Invalid, message));
    }
    let bar = ui.bar(meta.len()).with_message("storing");
    let stored: ArtifactView = api.upload("artifacts", meta.len(), bar.wrap_read(file))?;
    bar.finish_and_clear();
    ui.result(&stored, || format!("{BOLD}{}{BOLD:#}  {}", stored.id, stored.size));
    Ok(())
}

fn get(api: &Api, what: &str, output: Option<&Path>, pin: bool, ui: Ui) -> Result<(), Failed> {
    let pointer = match what.parse::<ArtifactId>() {
        Ok(_) => None,
        Err(_) => Some(read_pointer(Path::new(what))?),
    };
    let id = match &pointer {
        None => what.to_owned(),
        Some(pointer) => {
            let led: Value = api.post("pointers", pointer)?;
            led["id"].as_str().unwrap_or_default().to_owned()
        }
    };
    let bar = ui.bar(0).with_message("fetching");
    let fetched = api.fetch(&format!("artifacts/{id}/fetch?pin={pin}"), |it| {
        bar.set_length(it.size);
        bar.set_position(it.here);
    });
    bar.finish_and_clear();
    let fetched = fetched?;
    if let Some(pointer) = pointer {
        let checked: Value = api.post("pointers/check", &pointer)?;
        if checked["fits"] != true {
            let message = "the artifact is not what its pointer says";
            return Err(Failed::new(ErrorKind::Corrupt, message)
                .hint("ask who signed the pointer for a new one"));
        }
    }
    if let Some(path) = output {
        write_out(api, &fetched, path, ui)?;
    }
    let mut record = json!(fetched);
    record["output"] = json!(output);
    ui.result(&record, || told(&fetched));
    Ok(())
}

/// Writes an artifact that is here to a file, which is either whole or not there.
fn write_out(api: &Api, fetched: &Fetched, path: &Path, ui: Ui) -> Result<(), Failed> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let what = format!("cannot write {}", path.display());
    let failed = |err| Failed::io(&what, &err);
    let size = fetched.artifact.size.as_bytes();
    let bar = ui.bar(size).with_message("writing");
    let written = || {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&part).map_err(failed)?);
        let content = format!("artifacts/{}/content", fetched.artifact.id);
        let length = api.download(&content, &what, bar.wrap_write(&mut file))?;
        file.flush().map_err(failed)?;
        if length != size {
            let message = format!("{length} of {size} bytes came");
            return Err(Failed::new(ErrorKind::Unavailable, message));
        }
        fs::rename(&part, path).map_err(failed)
    };
    let written = written();
    bar.finish_and_clear();
    if written.is_err() {
        // Whatever is wrong with it, the first fault says more.
        drop(fs::remove_file(&part));
    }
    written
}

fn told(fetched: &Fetched) -> String {
    let Fetched { artifact, resumed, received, from, took_ms } = fetched;
    let [resumed, received] = [*resumed, *received].map(ByteSize::from_bytes);
    let took = spoken(Duration::from_millis(*took_ms));
    let mut text = format!("{BOLD}{}{BOLD:#}  {}", artifact.id, artifact.size);
    if received.as_bytes() == 0 {
        text.push_str("  was here already");
    } else {
        text.push_str(&format!("  {received} came in {took}, {resumed} were here\n"));
        for it in from {
            let fault = it.fault.as_ref().map_or_else(String::new, |it| format!("; {it}"));
            let bytes = ByteSize::from_bytes(it.bytes);
            text.push_str(&format!("{DIM}{bytes} from {}{fault}{DIM:#}\n", it.node_name));
        }
    }
    text
}

fn words(list: &ArtifactList) -> String {
    let ArtifactList { artifacts, room, used, .. } = list;
    if artifacts.is_empty() {
        return "no artifacts yet".to_owned();
    }
    let mut table = Table::new(["artifact", "size", "here", "stays", "stored"]);
    for it in artifacts {
        let here = match (it.whole, it.here) {
            (true, _) => "whole".to_owned(),
            (false, Some(here)) => ByteSize::from_bytes(here).to_string(),
            (false, None) => "in part".to_owned(),
        };
        let stays = if it.pinned { "until removed" } else { "while there is room" };
        let stored = it.stored_at.to_string();
        table.row([it.id.to_string(), it.size.to_string(), here, stays.to_owned(), stored]);
    }
    format!("{}{used} of {room} are taken\n", table.text())
}

fn read_pointer(path: &Path) -> Result<Signed<ArtifactPointer>, Failed> {
    let shown = path.display();
    let neither = || {
        Failed::new(ErrorKind::Invalid, format!("`{shown}` is neither an artifact's id nor a pointer"))
            .hint("an id has 64 hexadecimal digits; `sedge artifact ls` lists them")
    };
    let file = File::open(path).map_err(|_| neither())?;
    let mut text = Vec::new();
    file.take(POINTER_LIMIT)
        .read_to_end(&mut text)
        .map_err(|err| Failed::io(&format!("cannot read {shown}"), &err))?;
    serde_json::from_slice(&text).map_err(|_| neither())
}

fn write_pointer(
    pointer: &Signed<ArtifactPointer>,
    output: Option<&Path>,
    ui: Ui,
) -> Result<(), Failed> {
    let text = serde_json::to_string(pointer)
        .map_err(|err| Failed::new(ErrorKind::Internal, format!("unwritable pointer: {err}")))?;
    match output {
        None => ui.result(pointer, || text),
        Some(path) => {
            fs::write(path, text)
                .map_err(|err| Failed::io(&format!("cannot write {}", path.display()), &err))?;
            ui.result(&json!({ "output": path }), || format!("written to {}", path.display()));
        }
    }
    Ok(())
}

fn kind(text: &str) -> Result<ArtifactType, String> {
    match text {
        "q-table" => Ok(ArtifactType::QTable),
        "memory-vectors" => Ok(ArtifactType::MemoryVectors),
        "model-weights" => Ok(ArtifactType::ModelWeights),
        "trajectory" => Ok(ArtifactType::Trajectory),
        _ => Err("write q-table, memory-vectors, model-weights or trajectory".to_owned()),
    }
}
