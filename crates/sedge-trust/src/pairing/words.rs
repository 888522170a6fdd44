//! The 256 words of pairing codes: short, easy to say, far apart in sound where we could.

/// One word per byte.
#[rustfmt::skip]
pub(super) const WORDS: [&str; 256] = [
    "acid", "acorn", "actor", "adult", "agent", "alarm", "album", "alder", "alley", "alpha", "amber", "angel", "ankle", "apple", "april", "arena",
    "armor", "arrow", "aspen", "atlas", "atom", "attic", "august", "autumn", "bacon", "badge", "bagel", "baker", "bamboo", "banana", "banjo", "barrel",
    "basil", "basket", "beach", "beaver", "bell", "bench", "berry", "birch", "bishop", "bison", "blanket", "blue", "boat", "bonus", "border", "bottle",
    "branch", "bravo", "bread", "brick", "bridge", "broom", "bucket", "buffalo", "bulb", "butter", "button", "cabin", "cable", "cactus", "camel", "camera",
    "candle", "canoe", "canyon", "carbon", "carpet", "carrot", "castle", "cedar", "cello", "cereal", "chalk", "cheese", "cherry", "chess", "cider", "cinema",
    "circle", "citrus", "clay", "clock", "cloud", "clover", "cobalt", "coffee", "comet", "copper", "coral", "cotton", "coyote", "crane", "crayon", "cricket",
    "crown", "crystal", "daisy", "dancer", "delta", "denim", "desert", "diamond", "dingo", "doctor", "dolphin", "donkey", "dragon", "drum", "eagle", "earth",
    "echo", "elbow", "elm", "ember", "emerald", "engine", "falcon", "family", "farmer", "feather", "fender", "fern", "ferry", "fiddle", "finch", "flag",
    "flame", "flute", "forest", "fossil", "fox", "galaxy", "garden", "garlic", "ginger", "giraffe", "glove", "goblet", "gold", "gorilla", "granite", "grape",
    "guitar", "hammer", "harbor", "hawk", "hazel", "helmet", "heron", "hickory", "honey", "hotel", "igloo", "indigo", "insect", "island", "ivory", "jacket",
    "jaguar", "jasmine", "jelly", "jewel", "jungle", "juniper", "kayak", "kettle", "kitten", "koala", "ladder", "lagoon", "lantern", "laser", "lemon", "leopard",
    "lily", "linen", "lizard", "lobster", "lotus", "lunar", "magnet", "mango", "maple", "marble", "meadow", "melon", "mirror", "mitten", "monkey", "moon",
    "mosaic", "motor", "muffin", "museum", "napkin", "nectar", "needle", "nickel", "north", "nutmeg", "oasis", "ocean", "olive", "onion", "opal", "orange",
    "orbit", "orchid", "otter", "oyster", "paddle", "panda", "papaya", "parrot", "peach", "pebble", "pelican", "pepper", "piano", "pilot", "planet", "pocket",
    "pony", "poplar", "potato", "prism", "pumpkin", "puzzle", "quartz", "quilt", "rabbit", "radio", "raven", "ribbon", "river", "robin", "rocket", "saddle",
    "salmon", "saturn", "scarf", "shadow", "silver", "sparrow", "spider", "sunset", "tango", "tiger", "tulip", "turtle", "velvet", "violin", "walnut", "zebra",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn words_are_distinct_short_and_plain() {
        assert_eq!(WORDS.iter().collect::<BTreeSet<_>>().len(), 256);
        for word in WORDS {
            assert!((3..=8).contains(&word.len()), "{word}");
            assert!(word.bytes().all(|it| it.is_ascii_lowercase()), "{word}");
        }
    }
}
