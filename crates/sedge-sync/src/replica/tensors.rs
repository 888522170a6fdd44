//! The bytes of tensors: kept as exactly as they came, and replaced when they come more exactly.

use std::collections::HashSet;
use std::sync::PoisonError;

use bytes::Bytes;
use sedge_base::ContentId;
use sedge_store::{Fault, StoredTensor};
use serde::{Deserialize, Serialize};

use super::{Replica, WriteError};
use crate::tensor::{Form, Tensor, TensorRef};
use crate::value::Value;

/// How many bytes of tensors a node keeps.
const ROOM: u64 = 256 << 20;

/// The numbers of a tensor, as far as they are here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorView {
    /// How exactly they are here.
    pub form: Form,
    /// The numbers.
    pub numbers: Vec<f32>,
}

impl Replica {
    /// Reads which tensors are on disk; those that nothing names go.
    pub(super) async fn load_tensors(&self) -> Result<(), Fault> {
        let named: HashSet<_> = self.read().tensors().map(TensorRef::id).collect();
        let (mut here, mut unnamed) = (Vec::new(), Vec::new());
        for (id, form, length) in self.store.graph().tensors().await? {
            match form_of(&form).filter(|_| named.contains(&id)) {
                Some(form) => here.push((id, (form, length))),
                None => unnamed.push(id),
            }
        }
        *self.tensors.write().unwrap_or_else(PoisonError::into_inner) = here.into_iter().collect();
        self.store.graph().remove_tensors(unnamed).await
    }

    pub(super) async fn forget_tensors(&self, ids: Vec<ContentId>) -> Result<(), Fault> {
        if ids.is_empty() {
            return Ok(());
        }
        {
            let mut here = self.tensors.write().unwrap_or_else(PoisonError::into_inner);
            here.retain(|id, _| !ids.contains(id));
        }
        self.store.graph().remove_tensors(ids).await
    }

    /// Keeps a tensor of this node; returns the value that names it.
    pub(super) async fn keep_own_tensor(&self, tensor: &Tensor) -> Result<Value, WriteError> {
        let named = tensor.named();
        let bytes = tensor.bytes(Form::Exact);
        match self.keep_tensor(named.id(), Form::Exact, bytes).await? {
            true => Ok(Value::Tensor(named)),
            false => Err(WriteError::Full),
        }
    }

    /// Keeps a tensor's bytes, which fit; returns whether there was room.
    pub(crate) async fn keep_tensor(
        &self,
        id: ContentId,
        form: Form,
        bytes: Vec<u8>,
    ) -> Result<bool, Fault> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let used: u64 = {
            let here = self.tensors.read().unwrap_or_else(PoisonError::into_inner);
            here.iter().filter(|it| *it.0 != id).map(|it| it.1.1).sum()
        };
        if used.saturating_add(length) > ROOM {
            return Ok(false);
        }
        let stored = StoredTensor { id, form: form.name().to_owned(), bytes: Bytes::from(bytes) };
        self.store.graph().put_tensor(stored).await?;
        self.tensors.write().unwrap_or_else(PoisonError::into_inner).insert(id, (form, length));
        Ok(true)
    }

    /// Returns in which form a tensor is here.
    pub(crate) fn tensor_form(&self, id: &ContentId) -> Option<Form> {
        self.tensors.read().unwrap_or_else(PoisonError::into_inner).get(id).map(|it| it.0)
    }

    /// Returns a tensor's bytes in the form in which they are here.
    pub(crate) async fn tensor_bytes(&self, id: ContentId) -> Result<Option<(Form, Bytes)>, Fault> {
        let found = self.store.graph().tensor(id).await?;
        Ok(found.and_then(|it| Some((form_of(&it.form)?, it.bytes))))
    }

    pub(super) async fn tensor_view(&self, named: &TensorRef) -> Result<Option<TensorView>, Fault> {
        let found = self.tensor_bytes(named.id()).await?;
        Ok(found.map(|(form, bytes)| TensorView { form, numbers: named.read(form, &bytes) }))
    }
}

fn form_of(name: &str) -> Option<Form> {
    [Form::Exact, Form::EightBit, Form::FourBit].into_iter().find(|it| it.name() == name)
}
