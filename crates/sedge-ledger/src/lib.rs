//! What happened: receipts, their chain, metrics.
