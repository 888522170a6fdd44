//! A component of an application that keeps something: each line of the body is a thing to do, such as
//! `spin default set a 1` or `sql default SELECT 1`; the answer has a line for each.

wit_bindgen::generate!({ path: "wit", world: "keep", generate_all });

use std::fmt::Debug;

use fermyon::spin::key_value::Store;
use fermyon::spin::redis::{Connection as Server, RedisParameter};
use fermyon::spin::sqlite::{Connection, Value};
use wasi::keyvalue::atomics::{Cas, CasError, increment, swap};
use wasi::keyvalue::batch::{delete_many, get_many, set_many};
use wasi::keyvalue::store::open;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Keep;

wasip2::http::proxy::export!(Keep);

impl Guest for Keep {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let body = read(request);
        let lines: Vec<String> = String::from_utf8_lossy(&body).lines().map(done).collect();
        answer(out, lines.join("\n").as_bytes());
    }
}

/// Does what a line says, and tells how that went.
fn done(line: &str) -> String {
    let mut parts = line.splitn(3, ' ');
    let mut next = || parts.next().unwrap_or_default();
    let (door, label, rest) = (next(), next(), next());
    let told = match door {
        "spin" => spin(label, rest),
        "wasi" => wasi_keyvalue(label, rest),
        "redis" => redis(label, rest),
        "sql" => sql(label, &[rest]),
        // Several statements on one connection.
        "sqls" => sql(label, &rest.split("; ").collect::<Vec<_>>()),
        _ => Err("what?".to_owned()),
    };
    told.unwrap_or_else(|error| format!("error {error}"))
}

type Told = Result<String, String>;

fn words(error: impl Debug) -> String {
    format!("{error:?}")
}

fn text(value: Option<Vec<u8>>) -> String {
    value.map_or_else(|| "none".to_owned(), |it| String::from_utf8_lossy(&it).into_owned())
}

fn spin(label: &str, rest: &str) -> Told {
    let store = Store::open(label).map_err(words)?;
    match *rest.split(' ').collect::<Vec<_>>() {
        ["get", key] => store.get(key).map(text).map_err(words),
        ["set", key, value] => store.set(key, value.as_bytes()).map(|()| "set".to_owned()).map_err(words),
        // A value of so many bytes.
        ["fill", key, size] => {
            let value = vec![b'x'; size.parse().map_err(words)?];
            store.set(key, &value).map(|()| "set".to_owned()).map_err(words)
        }
        ["delete", key] => store.delete(key).map(|()| "deleted".to_owned()).map_err(words),
        ["exists", key] => store.exists(key).map(|it| it.to_string()).map_err(words),
        ["keys"] => store.get_keys().map(|it| it.join(",")).map_err(words),
        _ => Err("what?".to_owned()),
    }
}

fn wasi_keyvalue(label: &str, rest: &str) -> Told {
    let bucket = open(label).map_err(words)?;
    match *rest.split(' ').collect::<Vec<_>>() {
        ["get", key] => bucket.get(key).map(text).map_err(words),
        ["set", key, value] => bucket.set(key, value.as_bytes()).map(|()| "set".to_owned()).map_err(words),
        ["delete", key] => bucket.delete(key).map(|()| "deleted".to_owned()).map_err(words),
        ["exists", key] => bucket.exists(key).map(|it| it.to_string()).map_err(words),
        ["keys"] => bucket.list_keys(None).map(|it| format!("{} {:?}", it.keys.join(","), it.cursor)).map_err(words),
        ["increment", key, by] => {
            let by = by.parse().map_err(words)?;
            increment(&bucket, key, by).map(|it| it.to_string()).map_err(words)
        }
        // Looks at the key, has somebody else write it, and swaps then.
        ["late", key, theirs, ours] => {
            let cas = Cas::new(&bucket, key).map_err(words)?;
            bucket.set(key, theirs.as_bytes()).map_err(words)?;
            match swap(cas, ours.as_bytes()) {
                Ok(()) => Err("swapped".to_owned()),
                Err(CasError::StoreError(error)) => Err(words(error)),
                Err(CasError::CasFailed(newer)) => {
                    let seen = text(newer.current().map_err(words)?);
                    swap(newer, ours.as_bytes()).map_err(words)?;
                    Ok(format!("late, saw {seen}, swapped"))
                }
            }
        }
        ["many", ref keys @ ..] => {
            let keys: Vec<String> = keys.iter().map(|it| (*it).to_owned()).collect();
            let pairs: Vec<(String, Vec<u8>)> = keys.iter().map(|it| (it.clone(), it.clone().into_bytes())).collect();
            set_many(&bucket, &pairs).map_err(words)?;
            delete_many(&bucket, &keys[..1]).map_err(words)?;
            let got = get_many(&bucket, &keys).map_err(words)?;
            let told = got.into_iter().map(|(key, value)| format!("{key}={}", text(value)));
            Ok(told.collect::<Vec<_>>().join(","))
        }
        _ => Err("what?".to_owned()),
    }
}

/// Asks a server of Redis.
fn redis(address: &str, rest: &str) -> Told {
    let server = Server::open(address).map_err(words)?;
    let texts = |them: &[&str]| them.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    match *rest.split(' ').collect::<Vec<_>>() {
        ["get", key] => server.get(key).map(text).map_err(words),
        ["set", key, value] => server.set(key, &value.as_bytes().to_vec()).map(|()| "set".to_owned()).map_err(words),
        ["publish", channel, message] => {
            server.publish(channel, &message.as_bytes().to_vec()).map(|()| "published".to_owned()).map_err(words)
        }
        ["incr", key] => server.incr(key).map(|it| it.to_string()).map_err(words),
        ["del", ref keys @ ..] => server.del(&texts(keys)).map(|it| it.to_string()).map_err(words),
        ["sadd", key, ref values @ ..] => server.sadd(key, &texts(values)).map(|it| it.to_string()).map_err(words),
        ["srem", key, ref values @ ..] => server.srem(key, &texts(values)).map(|it| it.to_string()).map_err(words),
        ["smembers", key] => {
            let mut members = server.smembers(key).map_err(words)?;
            members.sort();
            Ok(members.join(","))
        }
        ["execute", command, ref arguments @ ..] => {
            let argument = |it: &&str| match it.parse() {
                Ok(number) => RedisParameter::Int64(number),
                Err(_) => RedisParameter::Binary(it.as_bytes().to_vec()),
            };
            let arguments: Vec<RedisParameter> = arguments.iter().map(argument).collect();
            server.execute(command, &arguments).map(words).map_err(words)
        }
        ["many"] => {
            let mut servers = vec![server];
            loop {
                match Server::open(address) {
                    Ok(server) => servers.push(server),
                    Err(error) => break Ok(format!("{} {}", servers.len(), words(error))),
                }
            }
        }
        _ => Err("what?".to_owned()),
    }
}

/// Executes statements, whose parameter, if they have one, is 7; tells the last one's answer.
fn sql(label: &str, statements: &[&str]) -> Told {
    let connection = Connection::open(label).map_err(words)?;
    let mut told = String::new();
    for statement in statements {
        let values: Vec<Value> = if statement.contains('?') { vec![Value::Integer(7)] } else { vec![] };
        let found = connection.execute(statement, &values).map_err(words)?;
        told = format!("{:?}", found.columns);
        for row in found.rows {
            told.push_str(&format!(" {:?}", row.values));
        }
    }
    Ok(told)
}

fn read(request: IncomingRequest) -> Vec<u8> {
    let mut all = Vec::new();
    let Ok(body) = request.consume() else { return all };
    if let Ok(stream) = body.stream() {
        while let Ok(bytes) = stream.blocking_read(64 * 1024) {
            all.extend_from_slice(&bytes);
        }
    }
    drop(IncomingBody::finish(body));
    all
}

fn answer(out: ResponseOutparam, bytes: &[u8]) {
    let response = OutgoingResponse::new(Fields::new());
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = body.write() {
        for piece in bytes.chunks(4096) {
            if stream.blocking_write_and_flush(piece).is_err() {
                break;
            }
        }
    }
    drop(OutgoingBody::finish(body, None));
}
