//! Shared, stacked and twice-listed layers.

use super::*;
use crate::inventory::Image;
use crate::testing::{diff, image};

/// An image of these layers, each of the given size.
fn stack(word: &str, layers: &[(&str, u64)]) -> Image {
    Image {
        layers: layers.iter().map(|(layer, _)| diff(layer)).collect(),
        layer_bytes: layers.iter().map(|(_, size)| Bytes(*size)).collect(),
        ..image(word)
    }
}

fn nothing(_: DiffId) -> Bytes {
    Bytes::ZERO
}

#[test]
fn a_layer_goes_with_the_last_image_on_it() {
    let (a, b) = (stack("a", &[("base", 100), ("a", 1)]), stack("b", &[("base", 100), ("b", 2)]));
    let mut space = Space::new([&a, &b], nothing);
    assert_eq!(space.remove(&a), Bytes(1));
    assert_eq!(space.remove(&a), Bytes::ZERO, "it has gone already");
    assert_eq!(space.remove(&b), Bytes(102));
}

#[test]
fn the_same_content_on_another_parent_is_another_layer() {
    let (a, b) = (stack("a", &[("x", 100), ("top", 7)]), stack("b", &[("y", 100), ("top", 7)]));
    assert_eq!(Space::new([&a, &b], nothing).remove(&a), Bytes(107));
}

#[test]
fn the_blob_of_a_content_is_kept_once_whatever_is_below_it() {
    let (a, b) = (stack("a", &[("x", 100), ("top", 7)]), stack("b", &[("y", 100), ("top", 7)]));
    let mut space = Space::new([&a, &b], |layer| if layer == diff("top") { Bytes(3) } else { Bytes(40) });
    assert_eq!(space.remove(&a), Bytes(147), "the other image still needs the blob");
    assert_eq!(space.remove(&b), Bytes(150));
}

#[test]
fn a_content_that_stands_twice_in_one_image_has_one_blob() {
    let a = stack("a", &[("x", 1), ("x", 1)]);
    assert_eq!(Space::new([&a], |_| Bytes(10)).remove(&a), Bytes(12));
}

#[test]
fn a_size_that_only_one_of_two_images_knows_counts() {
    let known = stack("known", &[("base", 100)]);
    let unknown = Image { layer_bytes: Vec::new(), ..stack("unknown", &[("base", 100)]) };
    for order in [[&known, &unknown], [&unknown, &known]] {
        let mut space = Space::new(order, nothing);
        assert_eq!(space.remove(&unknown), Bytes(0));
        assert_eq!(space.remove(&known), Bytes(100));
    }
}

#[test]
fn an_image_that_is_a_part_of_another_frees_nothing() {
    let (part, whole) = (stack("part", &[("base", 100)]), stack("whole", &[("base", 100), ("top", 1)]));
    let mut space = Space::new([&part, &whole], nothing);
    assert_eq!(space.remove(&part), Bytes::ZERO);
    assert_eq!(space.remove(&whole), Bytes(101));
}
