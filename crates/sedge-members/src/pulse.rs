//! What changes all the time in an advert, small enough for one post.

use crate::{Advert, Gauges, Leader, Offered};
use serde::{Deserialize, Serialize};

/// Of how many offers a pulse tells at most; the busiest machines leave some out.
const MOST_OFFERS: usize = 24;

/// A member's load at one moment. It stands for the notice of the same number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pulse {
    /// The number of the notice.
    pub serial: u64,
    gauges: Gauges,
    running: u32,
    invocations: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coordinator: Option<Leader>,
    /// Offers that differ from the notice; of the others, none runs.
    #[serde(default)]
    offers: Vec<Busy>,
}

/// One offer of a pulse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Busy {
    /// Its place among the offers of the notice.
    at: usize,
    ready: bool,
    running: u32,
    tokens_per_second: Option<f64>,
}

/// Returns what lasts of an advert: when this changes, a new notice is due.
pub fn lasting(advert: &Advert) -> Advert {
    let mut lasting = advert.clone();
    lasting.gauges = Gauges::default();
    lasting.running = 0;
    lasting.invocations = 0;
    lasting.roster = sedge_base::ContentId::of(b"");
    lasting.checkpoint = None;
    lasting.now = None;
    lasting.coordinator = None;
    lasting.serial = 0;
    lasting.notices = None;
    for offer in &mut lasting.offers {
        (offer.ready, offer.running, offer.tokens_per_second) = (true, 0, None);
    }
    lasting
}

impl Pulse {
    /// Returns the pulse of an advert, to those who have the notice.
    pub fn of(advert: &Advert, notice: &Advert) -> Self {
        let differs = |(now, then): (&Offered, &Offered)| {
            now.running > 0
                || now.ready != then.ready
                || now.tokens_per_second != then.tokens_per_second
        };
        let offers = advert.offers.iter().zip(&notice.offers).enumerate();
        let offers = offers.filter(|(_, both)| differs(*both)).map(|(at, (it, _))| Busy {
            at,
            ready: it.ready,
            running: it.running,
            tokens_per_second: it.tokens_per_second,
        });
        Self {
            serial: notice.serial,
            gauges: advert.gauges,
            running: advert.running,
            invocations: advert.invocations,
            coordinator: advert.coordinator,
            offers: offers.take(MOST_OFFERS).collect(),
        }
    }

    /// Brings an advert of the same number up to date.
    pub fn bring(&self, advert: &mut Advert) {
        advert.gauges = self.gauges;
        advert.running = self.running;
        advert.invocations = self.invocations;
        advert.coordinator = self.coordinator;
        advert.offers.iter_mut().for_each(|it| it.running = 0);
        for busy in self.offers.iter().take(MOST_OFFERS) {
            if let Some(offer) = advert.offers.get_mut(busy.at) {
                offer.ready = busy.ready;
                offer.running = busy.running;
                offer.tokens_per_second = busy.tokens_per_second;
            }
        }
    }
}

/// Returns an advert of a machine that offers nothing yet.
#[cfg(any(test, fuzzing))]
pub(crate) fn example() -> Advert {
    Advert {
        name: "one".to_owned(),
        offers: Vec::new(),
        gauges: Gauges::default(),
        running: 0,
        limit: 1,
        addresses: Vec::new(),
        roster: sedge_base::ContentId::of(b""),
        checkpoint: None,
        draining: false,
        invocations: 0,
        about: crate::About::default(),
        now: None,
        inviting: false,
        relays: Vec::new(),
        coordinator: None,
        serial: 1,
        notices: None,
    }
}
