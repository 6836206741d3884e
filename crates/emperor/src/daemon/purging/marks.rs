//! What has been told and is not done yet: where a reader is once a number is reached. No I/O.

use std::collections::BTreeMap;

/// Beyond, marks are let go so that those left are further apart. Each stands for all before it, so a
/// reader that is done with one that is gone is acknowledged up to the one before.
const MAX_MARKS: usize = 1_024;

/// Marks by the number that has to be reached.
#[derive(Debug)]
pub(super) struct Marks<M> {
    marks: BTreeMap<u64, M>,
    /// How far apart marks are at least; the newest one may be nearer.
    apart: u64,
}

impl<M> Default for Marks<M> {
    fn default() -> Self {
        Self {
            marks: BTreeMap::new(),
            apart: 1,
        }
    }
}

impl<M> Marks<M> {
    /// Where a reader is once it has reached a number, which is none of those before.
    pub(super) fn push(&mut self, number: u64, mark: M) {
        let mut latest = self.marks.keys().rev().copied();
        if let (Some(last), Some(before)) = (latest.next(), latest.next())
            && last - before < self.apart
        {
            self.marks.remove(&last);
        }
        self.marks.insert(number, mark);
        while self.marks.len() > MAX_MARKS {
            self.apart *= 2;
            self.thin_out(number);
        }
    }

    /// Where a reader is that has reached a number; `None`: no further than before.
    pub(super) fn reached(&mut self, number: u64) -> Option<M> {
        let later = self.marks.split_off(&(number + 1));
        let reached = std::mem::replace(&mut self.marks, later);
        if self.marks.is_empty() {
            self.apart = 1;
        }
        reached.into_values().next_back()
    }

    fn thin_out(&mut self, newest: u64) {
        let (apart, mut kept) = (self.apart, None);
        self.marks.retain(|number, _| {
            let stays = kept.is_none_or(|kept| number - kept >= apart);
            if stays {
                kept = Some(*number);
            }
            stays || *number == newest
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mark_that_is_reached_counts() {
        let mut marks = Marks::default();
        for number in [1, 2, 4] {
            marks.push(number, number);
        }
        assert_eq!(marks.reached(0), None);
        assert_eq!(marks.reached(3), Some(2));
        assert_eq!(marks.reached(3), None);
        assert_eq!(marks.reached(9), Some(4));
    }

    #[test]
    fn a_reader_that_is_far_behind_keeps_few_marks_and_its_last_one() {
        let mut marks = Marks::default();
        for number in 1..=1_000_000 {
            marks.push(number, number);
        }
        assert!(marks.marks.len() <= MAX_MARKS);
        let early = marks.reached(500_000).unwrap();
        assert!((490_000..=500_000).contains(&early), "{early}");
        assert_eq!(marks.reached(1_000_000), Some(1_000_000));
    }
}
