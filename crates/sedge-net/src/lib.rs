//! Bytes and streams between nodes: transports, discovery, pairing connections.
