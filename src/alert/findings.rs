//! What a run finds out on its way and does not write into its row: its end tells the rules and the source's own
//! function of it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::judge::ColumnChange;

/// More taxa or datasets than this are "many": whoever is told refreshes all.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub struct Findings {
    pub columns: RefCell<Option<ColumnChange>>,
    pub empty: std::cell::Cell<bool>,
    /// Observations that the run would have deleted, when the loss guard objected.
    pub missing: std::cell::Cell<Option<i64>>,
    pub touched: Rc<RefCell<Touched>>,
}

/// Which taxa and datasets the rows have that were inserted, updated or deleted; before an update and after.
#[derive(Debug, Default)]
pub struct Touched {
    taxa: Numbers,
    datasets: Numbers,
}

impl Touched {
    pub fn note(&mut self, cd_nom: Option<i32>, id_dataset: Option<i32>) {
        self.taxa.add(cd_nom);
        self.datasets.add(id_dataset);
    }

    /// What is written has no taxa and datasets that are known of.
    pub fn lose_track(&mut self) {
        self.taxa.many = true;
        self.datasets.many = true;
    }

    /// None: too many to be named.
    pub fn taxa(&self) -> Option<Vec<i32>> {
        self.taxa.list()
    }

    /// None: too many to be named.
    pub fn datasets(&self) -> Option<Vec<i32>> {
        self.datasets.list()
    }
}

#[derive(Debug, Default)]
struct Numbers {
    set: BTreeSet<i32>,
    many: bool,
}

impl Numbers {
    fn add(&mut self, number: Option<i32>) {
        if self.many {
            return;
        }
        self.set.extend(number);
        if self.set.len() > MOST {
            self.many = true;
            self.set = BTreeSet::new();
        }
    }

    fn list(&self) -> Option<Vec<i32>> {
        (!self.many).then(|| self.set.iter().copied().collect())
    }
}
