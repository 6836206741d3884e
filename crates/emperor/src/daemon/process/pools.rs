//! Which number belongs to which pool, for good: what stands for its vassal where a site's id stands
//! for a site's.
//!
//! A number that was given is never given to another pool: what an earlier emperor left of one, and the
//! files of its user, would become the other's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::read_to_string;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use site_model::SiteId;

use super::durable;
use super::failure::{Doing, PathFailure, PrepareError};

/// The numbers, in memory and on disk.
#[derive(Debug)]
pub(super) struct Pools {
    file: PathBuf,
    numbers: Mutex<Numbers>,
}

type Numbers = BTreeMap<String, NonZeroU32>;

impl Pools {
    /// Reads the file; none yet is an empty one.
    pub(super) fn open(file: PathBuf) -> Result<Self, PrepareError> {
        let numbers = match read_to_string(&file) {
            Ok(text) => parse(&text).map_err(|cause| PrepareError::Pools {
                path: file.clone(),
                cause,
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Numbers::new(),
            Err(error) => Err(error).doing("read", &file)?,
        };
        Ok(Self {
            file,
            numbers: Mutex::new(numbers),
        })
    }

    /// The vassals of these pools. Blocks on the disk where one of them is new.
    pub(super) fn number(
        &self,
        names: Vec<String>,
    ) -> Result<BTreeMap<String, SiteId>, PathFailure> {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = numbers.clone();
        for name in &names {
            let unused = next
                .values()
                .max()
                .map_or(NonZeroU32::MIN, |last| last.saturating_add(1));
            next.entry(name.clone()).or_insert(unused);
        }
        if next != *numbers {
            let text = serde_json::to_string_pretty(&next).expect("numbers under names are JSON");
            durable::replace(&self.file, &text)?;
            numbers.clone_from(&next);
        }
        let known = names.into_iter().filter_map(|name| {
            let number = next.get(&name).copied()?;
            Some((name, SiteId::of_pool(number)))
        });
        Ok(known.collect())
    }
}

fn parse(text: &str) -> Result<Numbers, String> {
    let numbers: Numbers = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let given: BTreeSet<_> = numbers.values().collect();
    if given.len() < numbers.len() {
        return Err("one number has two pools".to_owned());
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(pools: &Pools, names: &[&str]) -> Vec<i64> {
        let known = pools
            .number(names.iter().map(ToString::to_string).collect())
            .unwrap();
        names.iter().map(|name| known[*name].get()).collect()
    }

    #[test]
    fn a_pool_has_the_same_number_at_every_start_and_no_two_have_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pools.json");
        let first = Pools::open(file.clone()).unwrap();
        assert_eq!(number(&first, &["small", "big"]), [-1, -2]);
        let second = Pools::open(file).unwrap();
        assert_eq!(number(&second, &["other", "big", "small"]), [-3, -2, -1]);
    }

    #[test]
    fn a_number_that_can_t_be_written_down_is_not_given() {
        let folder = tempfile::tempdir().unwrap();
        let pools = Pools::open(folder.path().join("gone/pools.json")).unwrap();
        assert!(pools.number(vec!["small".to_owned()]).is_err());
        std::fs::create_dir(folder.path().join("gone")).unwrap();
        assert_eq!(number(&pools, &["small"]), [-1]);
    }

    #[test]
    fn a_file_that_can_t_be_understood_is_never_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pools.json");
        for wrong in ["", "{", r#"{"a": 1, "b": 1}"#, r#"{"a": 0}"#] {
            std::fs::write(&file, wrong).unwrap();
            let refused = Pools::open(file.clone());
            assert!(
                matches!(refused, Err(PrepareError::Pools { .. })),
                "{wrong}"
            );
        }
    }
}
