//! The `cosync` command.

use std::path::PathBuf;

use cs_node::api::{Access, Request};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    rt.block_on(async {
        let home = cs_node::Home::find(Some(PathBuf::from(&args[1]))).unwrap();
        if args[2] == "ask" {
            let request: Request = serde_json::from_str(&args[3]).unwrap();
            println!("{}", match cs_node::http::ask(&home.socket(), &request).await { Ok(r) => serde_json::to_string_pretty(&r).unwrap(), Err(e) => serde_json::to_string_pretty(&e).unwrap()});
            return;
        }
        let (driver, handle, _) = cs_node::Driver::open(&home, cs_node::Options { listen: vec![args[3].parse().unwrap()], ..Default::default() }, Box::new(|e| eprintln!("{e:?}"))).await.unwrap();
        cs_node::serve_api(&home, handle);
        driver.run().await;
    });
    let _ = Access::Read;
}
