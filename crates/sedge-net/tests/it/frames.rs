//! Messages over real connections.

use sedge_base::ByteSize;
use sedge_net::{Frame, FrameError, FrameReader, FrameWriter, Stream};

use crate::peers::{Guests, SOON, connect, quic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_036_seventeen_mebibytes_are_refused_and_the_link_lives() {
    let (a, b) = (quic(1, &Guests::everybody()).await, quic(2, &Guests::everybody()).await);
    let (near, far) = connect(&a, &b).await;
    let Stream { send, recv } = near.open(SOON).await.unwrap();
    let large = Frame::new(1, vec![0; 17 << 20]);
    // The honest sender is refused before it sends.
    let mut writer = FrameWriter::new(send);
    let refused = writer.write(&large).await.unwrap_err();
    assert_eq!(refused.to_string(), "frame of kind 1 has 17 MiB, the limit is 16 MiB");
    // One with a limit of its own is refused by the receiver.
    let mut writer = FrameWriter::with_limit(writer.into_inner(), ByteSize::from_mib(32));
    let small = Frame::new(2, "still here");
    let write = async {
        writer.write(&large).await?;
        writer.write(&small).await
    };
    let read = async {
        let Stream { send, recv } = far.accept().await.unwrap();
        let mut reader = FrameReader::new(recv);
        let refused = reader.next().await.unwrap_err();
        assert!(matches!(refused, FrameError::TooLarge { kind: 1, .. }), "{refused}");
        let next = reader.next().await.unwrap().unwrap();
        let mut writer = FrameWriter::new(send);
        writer.write(&next).await.unwrap();
        writer.into_inner().finish().await.unwrap();
        next
    };
    let (written, read) = tokio::join!(write, read);
    written.unwrap();
    assert_eq!(read, small);
    assert_eq!(FrameReader::new(recv).next().await.unwrap(), Some(small));
    assert_eq!(near.streams(), 1);
}
