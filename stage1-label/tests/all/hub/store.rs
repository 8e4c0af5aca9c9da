//! Where the fake Hub keeps large files: Git LFS' batch interface, and a store that takes signed addresses alone.

use serde_json::{Map, Value, json};

use super::git::digits;
use super::{State, said};
use crate::web::{Reply, Request, part_of};

pub const SIGNED: &str = "Signature=of-the-store";

/// Says where blobs go that are not there.
pub fn batch(state: &mut State, asked: &Value) -> Reply {
    assert_eq!((&asked["operation"], &asked["hash_algo"]), (&json!("upload"), &json!("sha256")));
    let object = |object: &Value| {
        let (oid, size) = (object["oid"].as_str().unwrap(), object["size"].as_u64().unwrap() as usize);
        if state.verified.iter().any(|there| there == oid) {
            return json!({"oid": oid, "size": size});
        }
        let verify = json!({"href": format!("{}/lfs/verify", state.url)});
        let upload = match state.part.filter(|&part| size > part) {
            None => json!({"href": format!("{}/blob/{oid}?{SIGNED}", state.store)}),
            Some(part) => {
                let mut header = Map::from_iter([("chunk_size".to_owned(), json!(part.to_string()))]);
                for number in 1..=size.div_ceil(part) {
                    let address = format!("{}/part/{oid}/{number:05}?{SIGNED}", state.store);
                    header.insert(format!("{number:05}"), json!(address));
                }
                json!({"href": format!("{}/lfs/complete/{oid}?{SIGNED}", state.url), "header": header})
            }
        };
        json!({"oid": oid, "size": size, "authenticated": true, "actions": {"upload": upload, "verify": verify}})
    };
    let objects: Vec<Value> = asked["objects"].as_array().unwrap().iter().map(object).collect();
    said("200 OK", &json!({"transfer": "basic", "objects": objects}))
}

/// Puts a blob together from its parts.
pub fn complete(state: &mut State, oid: &str, asked: &Value) -> Reply {
    assert_eq!(asked["oid"], oid);
    let mut bytes = Vec::new();
    for (index, part) in asked["parts"].as_array().unwrap().iter().enumerate() {
        let number = index + 1;
        assert_eq!(part["partNumber"], number);
        let Some(there) = state.parts.get(&format!("/part/{oid}/{number:05}")) else {
            return said("400 Bad Request", &json!({"error": "a part is missing"}));
        };
        assert_eq!(part["etag"].as_str().unwrap().trim_matches('"'), digits(there));
        bytes.extend(there);
    }
    state.parts.retain(|address, _| !address.starts_with(&format!("/part/{oid}/")));
    state.stored.insert(oid.into(), bytes);
    said("200 OK", &json!({}))
}

/// Takes a blob for what its name says, if it is.
pub fn verify(state: &mut State, asked: &Value) -> Reply {
    let oid = asked["oid"].as_str().unwrap();
    let is_it =
        state.stored.get(oid).is_some_and(|bytes| asked["size"] == bytes.len() && digits(bytes) == oid);
    if !is_it {
        return said("400 Bad Request", &json!({"error": "the blob is not what its name says"}));
    }
    state.verified.push(oid.into());
    said("200 OK", &json!({"message": "File verified"}))
}

/// The store itself.
pub fn answer(state: &mut State, request: &Request) -> Reply {
    state.leaked |= request.headers.contains_key("authorization");
    if request.query != SIGNED {
        return Reply::new(
            "403 Forbidden",
            String::new(),
            b"<Error><Code>AccessDenied</Code></Error>".to_vec(),
        );
    }
    let (method, path) = (request.method.as_str(), request.path.as_str());
    let oid = path.strip_prefix("/blob/").map(str::to_owned);
    match (method, oid) {
        // As S3 says of a body whose length it was not told.
        ("PUT", _) if !request.headers.contains_key("content-length") => {
            Reply::new("411 Length Required", String::new(), Vec::new())
        }
        ("PUT", Some(oid)) => {
            state.stored.insert(oid, request.body.clone());
            Reply::new("200 OK", String::new(), Vec::new())
        }
        ("PUT", None) => {
            state.parts.insert(path.into(), request.body.clone());
            Reply::new("200 OK", format!("ETag: \"{}\"\r\n", digits(&request.body)), Vec::new())
        }
        (_, oid) => match oid.and_then(|oid| state.stored.get(&oid)) {
            None => Reply::new("404 Not Found", String::new(), Vec::new()),
            Some(bytes) => {
                let tag = "ETag: \"of-the-store\"\r\n".to_owned();
                let (status, headers, body) = part_of(bytes, request.headers.get("range"), tag);
                Reply::new(&status, headers, body)
            }
        },
    }
}
