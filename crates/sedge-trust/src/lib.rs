//! Who is this, what may they do, who signed that: keys, registrations, envelopes, receipts.
