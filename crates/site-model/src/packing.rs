//! The order in which ordered maps are filled.

/// What is sorted, each second item of it first, and then those between.
///
/// A full leaf of an ordered map becomes two that are half full. A map that only grows at its end never comes
/// back to the first of them: it takes twice the memory that it has use for. Filled in this order, the items
/// that come later find room in the leaves that the first ones have left half empty.
pub fn every_second_first<T>(sorted: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let (mut first, mut between) = (Vec::new(), Vec::new());
    for (place, item) in sorted.into_iter().enumerate() {
        if place % 2 == 0 {
            first.push(item);
        } else {
            between.push(item);
        }
    }
    first.into_iter().chain(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out_and_those_between_come_last() {
        for (count, expected) in [(0, vec![]), (1, vec![0]), (5, vec![0, 2, 4, 1, 3])] {
            assert_eq!(every_second_first(0..count).collect::<Vec<_>>(), expected);
        }
    }
}
