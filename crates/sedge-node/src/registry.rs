//! What this node offers itself: the one place where users' deployments are data.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sedge_base::ErrorKind;
use sedge_capability::{Descriptor, End, Failure, Handle, Kind, Media, Name, Task};
use sedge_members::Offered;
use sedge_plans::{Measured, Tally};

/// Everything that this node offers, by name.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: RwLock<BTreeMap<Name, Arc<Entry>>>,
    /// Names of functions that are on their way here, and how often.
    coming: Mutex<BTreeMap<Name, u32>>,
}

/// Room for one function that is on its way; given back on drop.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    registry: &'a Registry,
    name: Name,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut coming = self.registry.coming.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = coming.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                coming.remove(&self.name);
            }
        }
    }
}

/// One capability of this node.
pub(crate) struct Entry {
    handle: Handle,
    limit: u32,
    running: AtomicU32,
    /// Made once: compiling a schema costs more than a small task.
    schema: Option<jsonschema::Validator>,
    tokens_per_second: Mutex<Option<f64>>,
    tally: Tally,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.handle.descriptor().name)
            .finish_non_exhaustive()
    }
}

/// A place that a running task takes; given back on drop.
#[derive(Debug)]
pub(crate) struct Place(Arc<Entry>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Registry {
    /// Offers a capability, in place of one with the same name; at most `limit` tasks at once.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when its input schema is no JSON schema.
    pub(crate) fn offer(&self, handle: Handle, limit: u32) -> Result<(), Failure> {
        let descriptor = handle.descriptor();
        let schema = if descriptor.takes_bytes() {
            None
        } else {
            let made = jsonschema::validator_for(&descriptor.input).map_err(|error| {
                let text = format!("the input schema of `{}` is wrong: {error}", descriptor.name);
                Failure::new(ErrorKind::Internal, "bad_schema", text)
            })?;
            Some(made)
        };
        let entry = Arc::new(Entry {
            handle,
            limit,
            running: AtomicU32::new(0),
            schema,
            tokens_per_second: Mutex::new(None),
            tally: Tally::default(),
        });
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.insert(descriptor.name.clone(), entry);
        Ok(())
    }

    /// Takes room for a function that is on its way, if there is any: a new version needs none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] when `limit` functions are here or on their way.
    pub(crate) fn reserve(&self, name: &Name, limit: u32) -> Result<Room<'_>, Failure> {
        let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let is_function = |it: &Entry| it.handle.descriptor().kind == Kind::Function;
        let here = entries.values().filter(|it| is_function(it)).count();
        let new = coming.keys().filter(|it| !entries.contains_key(*it)).count();
        let known = entries.contains_key(name) || coming.contains_key(name);
        if !known && here + new >= limit as usize {
            let text = format!("this node has {} functions, {limit} is its limit", here + new);
            return Err(Failure::new(ErrorKind::Exhausted, "node_full", text));
        }
        *coming.entry(name.clone()).or_default() += 1;
        Ok(Room { registry: self, name: name.clone() })
    }

    /// Stops offering a capability; running tasks go on. Returns whether it was offered.
    pub(crate) fn withdraw(&self, name: &Name) -> bool {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(name).is_some()
    }

    /// Returns the capability of that name.
    pub(crate) fn get(&self, name: &Name) -> Option<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Returns everything that is offered, in the order of names.
    pub(crate) fn offers(&self) -> Vec<Offered> {
        self.offers_where(&|_| true)
    }

    /// Returns what is offered and `wanted` picks, in the order of names.
    pub(crate) fn offers_where(&self, wanted: &dyn Fn(&Descriptor) -> bool) -> Vec<Offered> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = entries.values().filter(|it| wanted(&it.handle.descriptor()));
        wanted.map(|it| it.offered()).collect()
    }
}

impl Entry {
    /// Returns the engine behind it.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns what the mesh is told about it.
    pub(crate) fn offered(&self) -> Offered {
        let descriptor = self.handle.descriptor();
        Offered {
            ready: descriptor.labels.get("loaded").is_none_or(|it| it == "true"),
            descriptor: (*descriptor).clone(),
            running: self.running.load(Ordering::SeqCst),
            limit: self.limit,
            tokens_per_second: *self.speed(),
        }
    }

    /// Takes a place for one task.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] when all places are taken.
    pub(crate) fn take_place(self: &Arc<Self>) -> Result<Place, Failure> {
        let taken = self.running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |running| {
            (running < self.limit).then_some(running + 1)
        });
        match taken {
            Ok(_) => Ok(Place(Arc::clone(self))),
            Err(running) => {
                let name = &self.handle.descriptor().name;
                let text = format!("`{name}` runs {running} tasks, which is its limit");
                Err(Failure::new(ErrorKind::Exhausted, "busy", text))
            }
        }
    }

    /// Checks an input against the schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`], naming the place in the input.
    pub(crate) fn check_input(&self, task: &Task) -> Result<(), Failure> {
        let Some(schema) = &self.schema else { return Ok(()) };
        let name = self.handle.descriptor().name.clone();
        let invalid = |text: String| Failure::new(ErrorKind::Invalid, "invalid_input", text);
        if task.media != Media::Plain {
            return Err(invalid(format!("`{name}` takes JSON and no HTTP messages")));
        }
        let value: serde_json::Value = serde_json::from_slice(&task.input)
            .map_err(|error| invalid(format!("the input of `{name}` is not JSON: {error}")))?;
        schema.validate(&value).map_err(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "its top".to_owned() } else { format!("`{place}`") };
            invalid(format!("the input of `{name}` is wrong at {place}: {}", error.masked()))
        })
    }

    /// Learns from a task how this capability fares here, and how fast a model is: a moving mean over
    /// about ten tasks.
    pub(crate) fn learn(&self, end: &End) {
        self.tally.note(end);
        if self.handle.descriptor().kind != Kind::Chat {
            return;
        }
        let seen = end.detail.get("tokens_per_second").and_then(serde_json::Value::as_f64);
        if let Some(seen) = seen.filter(|it| it.is_finite() && *it > 0.0) {
            let mut speed = self.speed();
            *speed = Some(speed.map_or(seen, |before| before * 0.9 + seen * 0.1));
        }
    }

    /// Returns how it fared since it was offered.
    pub(crate) fn measured(&self) -> Measured {
        self.tally.measured()
    }

    fn speed(&self) -> std::sync::MutexGuard<'_, Option<f64>> {
        self.tokens_per_second.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Feeds a tool's schema and, behind a zero, an input to what checks inputs; returns whether the input fits.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |it| *it == 0);
    let mut part = || serde_json::from_slice::<serde_json::Value>(parts.next().unwrap_or_default());
    let Some(schema) = part().ok().filter(serde_json::Value::is_object) else { return false };
    let Ok(schema) = jsonschema::validator_for(&schema) else { return false };
    part().is_ok_and(|it| match schema.validate(&it) {
        Ok(()) => true,
        Err(error) => error.to_string().is_empty(),
    })
}
