//! Protocol buffers as gRPC's messages.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Writes messages of one type, reads those of another.
#[derive(Debug)]
pub(super) struct Codec<Out, In>(PhantomData<(Out, In)>);

/// One direction of a [`Codec`].
#[derive(Debug)]
pub(super) struct Half<T>(PhantomData<T>);

impl<Out, In> Default for Codec<Out, In> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Out, In> tonic::codec::Codec for Codec<Out, In>
where
    Out: Message + 'static,
    In: Message + Default + 'static,
{
    type Encode = Out;
    type Decode = In;
    type Encoder = Half<Out>;
    type Decoder = Half<In>;

    fn encoder(&mut self) -> Half<Out> {
        Half(PhantomData)
    }

    fn decoder(&mut self) -> Half<In> {
        Half(PhantomData)
    }
}

impl<T: Message> Encoder for Half<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(to).map_err(|err| Status::internal(err.to_string()))
    }
}

impl<T: Message + Default> Decoder for Half<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        T::decode(from).map(Some).map_err(|err| Status::invalid_argument(err.to_string()))
    }
}
