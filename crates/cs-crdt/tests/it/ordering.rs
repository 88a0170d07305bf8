//! What must hold of every order of lists and text (CRDT-6), whoever types how.

use cs_crdt::{Document, Path};

/// Types letter by letter, forwards or backwards, at `at`.
fn type_letters(document: &mut Document, at: usize, word: &str, backwards: bool) -> Vec<Vec<u8>> {
    let path = Path::from("t");
    let letters: Vec<char> = word.chars().collect();
    let count = letters.len();
    let step = |n: usize| if backwards { (at, letters[count - 1 - n]) } else { (at + n, letters[n]) };
    let typed =
        (0..count).map(step).map(|(at, letter)| document.splice(0, &path, at..at, &letter.to_string()));
    typed.map(|change| change.unwrap().unwrap()).collect()
}

/// CRDT-6: words typed at one place by three people at once stand one after the other, whatever the direction of each and
/// the order of arrival.
#[test]
fn words_typed_apart_never_interleave_in_either_direction() {
    for directions in 0..8u8 {
        for start in ["", "[]", "a-z"] {
            let mut base = Document::new([9; 32]);
            let first = base.edit(0, |tx| tx.splice("t", 0..0, &format!("{start}!"))).unwrap().unwrap();
            let at = start.len() / 2;
            let mut said = Vec::new();
            for (who, word) in ["alpha", "bravo", "cargo"].into_iter().enumerate() {
                let mut author = Document::new([who as u8 + 1; 32]);
                author.apply(&first).unwrap();
                said.push(type_letters(&mut author, at, word, directions >> who & 1 == 1));
            }
            let mut texts = Vec::new();
            for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
                let mut reader = Document::new([7; 32]);
                reader.apply(&first).unwrap();
                for who in order {
                    for change in &said[who] {
                        assert_eq!(reader.apply(change).unwrap().ineffective, 0);
                    }
                }
                texts.push(reader.text("t").unwrap());
            }
            let mut mixed = Document::new([8; 32]);
            mixed.apply(&first).unwrap();
            for letter in 0..5 {
                for changes in &said {
                    assert_eq!(mixed.apply(&changes[letter]).unwrap().ineffective, 0);
                }
            }
            texts.push(mixed.text("t").unwrap());
            assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
            for word in ["alpha", "bravo", "cargo"] {
                assert!(texts[0].contains(word), "{word} is torn apart in {} ({directions:03b})", texts[0]);
            }
        }
    }
}

/// Three changes that each insert, remove and set beside the others', and every order in which a state, a change or a
/// late joiner's snapshot may bring them: all give one document.
#[test]
fn changes_states_and_mixtures_of_both_give_one_document_in_every_order() {
    let mut base = Document::new([9; 32]);
    let first = base.edit(0, |tx| tx.splice("t", 0..0, "one two")).unwrap().unwrap();
    let mut changes = Vec::new();
    let mut states = Vec::new();
    for who in 1..4u8 {
        let mut author = Document::new([who; 32]);
        author.apply(&first).unwrap();
        let change = author.edit(u64::from(who), |tx| {
            tx.splice("t", 3..4 + usize::from(who) % 2, &format!("<{who}>"))?;
            tx.push("l", i64::from(who))?;
            tx.add("s", i64::from(who % 2))?;
            tx.increment("n", i64::from(who))?;
            tx.set("k", i64::from(who))
        });
        changes.push(change.unwrap().unwrap());
        states.push(author.save());
    }
    let mut saves = std::collections::BTreeSet::new();
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for ways in 0..8u8 {
            let mut reader = Document::new([8; 32]);
            for (at, who) in order.into_iter().enumerate() {
                match ways >> at & 1 {
                    0 => assert_eq!(reader.apply(&changes[who]).unwrap().ineffective, 0),
                    _ => reader.join(&states[who]).unwrap(),
                }
            }
            reader.apply(&first).unwrap();
            assert_eq!(reader.pending(), 0);
            saves.insert(reader.save());
        }
    }
    assert_eq!(saves.len(), 1);
}

/// CRDT-6: thousands of items in one gap, where each would have to walk past all before it.
#[test]
fn a_flood_of_items_in_one_gap_is_taken_in_its_stride() {
    let mut bytes = vec![1, 1];
    bytes.extend([7; 32]);
    bytes.extend([1, 0, 0, 0]);
    let count = 60_000u32;
    let (low, middle, high) = (count as u8 | 0x80, (count >> 7) as u8 | 0x80, (count >> 14) as u8);
    bytes.extend([low, middle, high]);
    (0..count).for_each(|_| bytes.extend([0, 0, 10, 0, 0, 1, b'x']));
    let mut document = Document::new([1; 32]);
    assert_eq!(document.apply(&bytes).unwrap().ineffective, 0);
    assert_eq!(document.len(Path::root()), count as usize);
}
