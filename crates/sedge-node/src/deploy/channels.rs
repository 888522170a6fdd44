//! Channels of servers, whose messages call functions of this node.
//!
//! Invariants: a channel is heard as long as its function is here, and after every start; its messages call the function
//! one after another, by the ordinary way, on this node; a server that is away is asked again, ever less often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sedge_base::{Cancel, TaskScope, Timestamp};
use sedge_capability::{Budgets, Kind, Media, Name};
use sedge_functions::{Channel, RedisError, Share};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::node::Node;
use crate::view::{Ask, ChannelView};

/// How long a server that was lost is left alone at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A function and one of its channels, by its place among them.
type Key = (Name, usize);

/// The channels of a node.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    wanted: Mutex<BTreeMap<Key, Wanted>>,
    changed: Notify,
}

#[derive(Debug, Clone)]
struct Wanted {
    channel: Channel,
    view: ChannelView,
}

impl Channels {
    fn wanted(&self) -> MutexGuard<'_, BTreeMap<Key, Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the channels of a function in place of those that it had.
    pub(crate) fn set(&self, function: &Name, share: Option<&Share>, now: Timestamp) {
        let mut wanted = self.wanted();
        let channels = share.map(|it| it.channels.as_slice()).unwrap_or_default();
        wanted.retain(|key, it| key.0 != *function || channels.get(key.1) == Some(&it.channel));
        for (at, channel) in channels.iter().enumerate() {
            let view = ChannelView {
                app: share.map_or_else(String::new, |it| it.app.clone()),
                function: function.clone(),
                channel: channel.channel.clone(),
                server: channel.address.to_string(),
                heard: false,
                why: None,
                since: now,
                messages: 0,
                failed: 0,
            };
            let new = || Wanted { channel: channel.clone(), view };
            wanted.entry((function.clone(), at)).or_insert_with(new);
        }
        drop(wanted);
        self.changed.notify_one();
    }

    fn note(&self, key: &Key, change: impl FnOnce(&mut ChannelView)) {
        if let Some(wanted) = self.wanted().get_mut(key) {
            change(&mut wanted.view);
        }
    }
}

impl Node {
    /// Returns the channels that functions of this node hear, in the order of their names.
    pub fn channels(&self) -> Vec<ChannelView> {
        self.plans.channels.wanted().values().map(|it| it.view.clone()).collect()
    }

    /// Hears channels of functions, as they come and go, until the node stops.
    pub(crate) fn watch_channels(self: &Arc<Self>) {
        let node = Arc::clone(self);
        self.scope.spawn("channels", async move |cancel| {
            let mut heard: BTreeMap<Key, (Channel, TaskScope)> = BTreeMap::new();
            loop {
                node.adjust(&mut heard);
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    () = node.plans.channels.changed.notified() => {}
                }
            }
        });
    }

    /// Begins and ends hearing, so that what is heard is what is wanted.
    fn adjust(self: &Arc<Self>, heard: &mut BTreeMap<Key, (Channel, TaskScope)>) {
        let wanted: BTreeMap<Key, Channel> = {
            let wanted = self.plans.channels.wanted();
            wanted.iter().map(|(key, it)| (key.clone(), it.channel.clone())).collect()
        };
        heard.retain(|key, (channel, scope)| {
            let stays = wanted.get(key) == Some(&*channel);
            if !stays {
                scope.stop();
            }
            stays
        });
        for (key, channel) in wanted {
            if heard.contains_key(&key) {
                continue;
            }
            let scope = self.scope.child();
            let (node, at, of) = (Arc::clone(self), key.clone(), channel.clone());
            scope.spawn("channel", |cancel| node.hear_channel(at, of, cancel));
            heard.insert(key, (channel, scope));
        }
    }

    /// Hears one channel until it is told to stop.
    async fn hear_channel(self: Arc<Self>, key: Key, channel: Channel, cancel: Cancel) {
        let mut pause = FIRST_PAUSE;
        loop {
            let lost = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                lost = self.hear_until_lost(&key, &channel, &mut pause) => lost,
            };
            let (function, name, server) = (&key.0, &channel.channel, &channel.address);
            warn!(target: "sedge::events::channel_lost", %function, channel = name, %server, why = %lost);
            let now = self.clock.now();
            self.plans.channels.note(&key, |it| {
                it.since = if it.heard || it.why.is_none() { now } else { it.since };
                (it.heard, it.why) = (false, Some(lost.to_string()));
            });
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = LONGEST_PAUSE.min(pause * 2),
            }
        }
    }

    /// Hears one channel until its server is lost; says why.
    async fn hear_until_lost(
        self: &Arc<Self>,
        key: &Key,
        channel: &Channel,
        pause: &mut Duration,
    ) -> RedisError {
        let mut hearing = match self.functions.hear(channel).await {
            Ok(hearing) => hearing,
            Err(error) => return error,
        };
        let (function, name, server) = (&key.0, &channel.channel, &channel.address);
        info!(target: "sedge::events::channel_heard", %function, channel = name, %server);
        *pause = FIRST_PAUSE;
        let now = self.clock.now();
        self.plans.channels.note(key, |it| (it.heard, it.why, it.since) = (true, None, now));
        loop {
            let message = match hearing.next().await {
                Ok(message) => message,
                Err(error) => return error,
            };
            self.plans.channels.note(key, |it| it.messages += 1);
            if !self.call_with(function, message).await {
                self.plans.channels.note(key, |it| it.failed += 1);
            }
        }
    }

    /// Calls a function of this node with a message; returns whether it succeeded.
    async fn call_with(self: &Arc<Self>, function: &Name, message: Bytes) -> bool {
        let ask = Ask {
            capability: function.clone(),
            kind: Some(Kind::Function),
            input: message,
            media: Media::Plain,
            budgets: Budgets::default(),
            on: Some(self.id().to_string()),
            pass: None,
        };
        let failure = match self.run(ask).await {
            Ok(answer) => answer.outcome.collect().await.1.failure,
            Err(failure) => Some(failure),
        };
        if let Some(failure) = &failure {
            warn!(target: "sedge::events::message_failed", %function, %failure);
        }
        failure.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(channels: &[&str]) -> Share {
        let channel = |it: &&str| Channel {
            address: "redis://:s3cret@cache".parse().unwrap(),
            channel: (*it).to_owned(),
        };
        Share {
            app: "shop".to_owned(),
            channels: channels.iter().map(channel).collect(),
            ..Share::default()
        }
    }

    #[test]
    fn a_new_version_keeps_the_channels_that_stay() {
        let channels = Channels::default();
        let (ear, now) = ("shop.ear".parse::<Name>().unwrap(), Timestamp::from_millis(7));
        let told = || {
            let wanted = channels.wanted();
            let line = |it: &Wanted| format!("{} {}", it.view.channel, it.view.messages);
            wanted.values().map(line).collect::<Vec<_>>()
        };
        channels.set(&ear, Some(&share(&["a", "b"])), now);
        channels.note(&(ear.clone(), 0), |it| it.messages += 1);
        channels.set(&"shop.other".parse().unwrap(), Some(&share(&["c"])), now);
        assert_eq!(told(), ["a 1", "b 0", "c 0"]);
        channels.set(&ear, Some(&share(&["a", "d"])), now);
        assert_eq!(told(), ["a 1", "d 0", "c 0"]);
        assert!(!format!("{channels:?}").contains("s3cret"));
        channels.set(&ear, None, now);
        assert_eq!(told(), ["c 0"]);
    }
}
