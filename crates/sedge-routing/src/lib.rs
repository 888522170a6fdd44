//! Where a task runs: filters, load, strategies, and the explanation.
