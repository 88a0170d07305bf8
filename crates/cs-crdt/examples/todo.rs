//! Two devices keep a to-do list, apart and together: `cargo run -p cs-crdt --example todo`

use std::error::Error;

use cs_crdt::{Document, Value};

fn main() -> Result<(), Box<dyn Error>> {
    let mut phone = Document::new([1; 32]);
    let mut laptop = Document::new([2; 32]);

    let list = Value::from_json(r#"{"items": [{"what": "milk", "done": false}], "visits": 1}"#)?;
    let first = phone.merge_json(1_000, &list)?.ok_or("nothing to send")?;
    laptop.apply(&first)?;

    let on_phone = phone.edit(2_000, |tx| {
        tx.set(cs_crdt::Path::from("items").index(0).key("done"), true)?;
        tx.set("owner", "Ada")
    })?;
    let on_laptop = laptop.edit(2_500, |tx| {
        tx.insert("items", 0, Value::Object([("what".to_owned(), "bread".into())].into()))?;
        tx.set("owner", "Bob")
    })?;
    println!("apart:    {}\n          {}", phone.to_json(), laptop.to_json());

    laptop.apply(&on_phone.ok_or("nothing to send")?)?;
    phone.apply(&on_laptop.ok_or("nothing to send")?)?;
    println!("together: {}", phone.to_json());
    for conflict in laptop.conflicts() {
        let values: Vec<String> = conflict.candidates.iter().map(|c| c.value.to_string()).collect();
        println!("conflict: {} is {}", conflict.path, values.join(" or "));
    }
    if phone == laptop { Ok(()) } else { Err("the devices differ".into()) }
}
