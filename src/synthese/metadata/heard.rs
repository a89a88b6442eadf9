//! What a run has been told of metadata, record by record: each distinct description once, put together. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::reading::Metadata;
use crate::record::DatasetReference;

#[derive(Default)]
pub struct Heard {
    marks: HashSet<u128>,
    told: Metadata,
    /// Embedded metadata only says what is missing: a separate export says the rest.
    pub aside: bool,
}

impl Heard {
    /// Takes what has not been said before in this run; returns it.
    pub fn hear(&mut self, references: Vec<Arc<DatasetReference>>) -> Vec<Arc<DatasetReference>> {
        let mut new = Vec::new();
        for reference in references {
            if self.marks.insert(mark(&reference)) {
                if !self.aside {
                    self.told.add_reference(&reference);
                }
                new.push(reference);
            }
        }
        new
    }

    /// What was noted of it elsewhere is gone: it is new once more.
    pub fn forget_marks(&mut self) {
        self.marks.clear();
    }

    /// All that was said so far, once.
    pub fn take(&mut self) -> Metadata {
        std::mem::take(&mut self.told)
    }
}

/// 128 bits of the content: two that differ will not be taken for each other.
fn mark(reference: &DatasetReference) -> u128 {
    let DatasetReference {
        uuid,
        name,
        framework_uuid,
        framework_name,
        actors,
        dataset,
        framework,
    } = reference;
    let mut hash = Xxh3::new();
    let mut add = |bytes: Option<&[u8]>| {
        hash.update(
            &bytes
                .map_or(u64::MAX, |bytes| bytes.len() as u64)
                .to_le_bytes(),
        );
        hash.update(bytes.unwrap_or_default());
    };
    for uuid in [uuid, framework_uuid] {
        add(uuid.as_ref().map(|uuid| uuid.as_slice()));
    }
    for text in [name, framework_name, actors, dataset, framework] {
        add(text.as_deref().map(str::as_bytes));
    }
    hash.digest128()
}
