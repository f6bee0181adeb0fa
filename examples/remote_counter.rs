//! A counter in one program that others add to over TCP, with a key.
//!
//! By itself, with clients that are child processes: `cargo run --example remote_counter`. As programs of their own, which
//! find the key in an environment variable:
//! ```sh
//! export REMOTE_COUNTER_KEY=secret
//! cargo run --example remote_counter -- serve tcp:127.0.0.1:4000
//! cargo run --example remote_counter -- add tcp:127.0.0.1:4000 5
//! cargo run --example remote_counter -- stop tcp:127.0.0.1:4000
//! ```

use std::os::fd::AsFd;
use std::process::ExitCode;

use multiproc::{
    Address, AuthKey, Client, Connection, ConnectionError, Error, Listener, Process, Result, connection,
};
use serde::{Deserialize, Serialize};

const USAGE: &str = "usage: remote_counter [serve ADDRESS | add ADDRESS NUMBER | stop ADDRESS]";
const KEY: &str = "REMOTE_COUNTER_KEY";

/// What a client asks for. The answer is the counter.
#[derive(Serialize, Deserialize)]
enum Request {
    Add(i64),
    /// End when all clients have gone.
    Stop,
}

/// Serves clients until one says stop and all have gone; returns the counter and how many were turned away.
fn serve(listener: &Listener) -> Result<(i64, u32)> {
    let (mut counter, mut turned_away, mut stopping) = (0, 0, false);
    let mut clients: Vec<Connection> = Vec::new();
    while !stopping || !clients.is_empty() {
        let mut objects: Vec<&dyn AsFd> = vec![listener];
        objects.extend(clients.iter().map(|client| client as &dyn AsFd));
        let ready = connection::wait(&objects, None)?;
        // From behind, so that the places of the others stay what they are.
        for place in ready.into_iter().rev() {
            if place == 0 {
                match listener.try_accept() {
                    Ok(client) => clients.push(client),
                    Err(ConnectionError::Authentication(why)) => {
                        eprintln!("remote_counter: a client was turned away: {why}");
                        turned_away += 1;
                    }
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            match answer(&clients[place - 1], &mut counter) {
                Ok(stop) => stopping |= stop,
                // It has gone, or says what nobody understands.
                Err(_) => drop(clients.remove(place - 1)),
            }
        }
    }
    Ok((counter, turned_away))
}

/// Answers one request; whether it was to stop.
fn answer(client: &Connection, counter: &mut i64) -> Result<bool, ConnectionError> {
    let request = client.recv()?;
    if let Request::Add(number) = request {
        *counter += number;
    }
    client.send(&*counter)?;
    Ok(matches!(request, Request::Stop))
}

fn ask(client: &Connection, request: &Request) -> Result<i64, ConnectionError> {
    client.send(request)?;
    client.recv()
}

/// A child: adds 1 so many times.
fn add_ones((address, key, times): (Address, AuthKey, u32)) -> i64 {
    let client = Client::connect(address, Some(key)).expect("the parent serves");
    let mut counter = 0;
    for _ in 0..times {
        counter = ask(&client, &Request::Add(1)).expect("the parent serves until all have gone");
    }
    counter
}

/// Serves three children, and one that has another key.
fn by_itself() -> Result<()> {
    const TIMES: u32 = 100;
    let key = AuthKey::random()?;
    let listener = Listener::bind(Address::tcp("127.0.0.1:0")?, Some(key.clone()))?;
    let address = listener.address().clone();
    let server = std::thread::spawn(move || serve(&listener));

    let children = (0..3)
        .map(|_| Process::spawn(add_ones, (address.clone(), key.clone(), TIMES)))
        .collect::<Result<Vec<_>>>()?;
    let stranger = Client::connect(address.clone(), Some(AuthKey::new("a guess")));
    println!("a stranger: {}", stranger.expect_err("it has another key"));
    let mut highest = 0;
    for mut child in children {
        highest = highest.max(child.join()?);
    }
    ask(&Client::connect(address, Some(key))?, &Request::Stop)?;

    let (counter, turned_away) = server.join().expect("the server does not panic")?;
    assert_eq!((counter, highest, turned_away), (300, 300, 1));
    println!("the counter is {counter}");
    Ok(())
}

fn run(arguments: &[String]) -> Result<()> {
    let key = || match std::env::var(KEY) {
        Ok(key) => Ok(AuthKey::new(key)),
        Err(_) => Err(Error::NotFound { what: format!("environment variable {KEY}") }),
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => by_itself(),
        ["serve", address] => {
            let listener = Listener::bind(address.parse()?, Some(key()?))?;
            println!("listening at {}", listener.address());
            let (counter, _) = serve(&listener)?;
            println!("the counter is {counter}");
            Ok(())
        }
        ["add", address, number] => {
            let number =
                number.parse().map_err(|_| Error::NotFound { what: "a number to add".to_owned() })?;
            let counter = ask(&Client::connect(address.parse()?, Some(key()?))?, &Request::Add(number))?;
            println!("the counter is {counter}");
            Ok(())
        }
        ["stop", address] => {
            let counter = ask(&Client::connect(address.parse()?, Some(key()?))?, &Request::Stop)?;
            println!("the counter was {counter}");
            Ok(())
        }
        _ => Err(Error::NotFound { what: format!("such command\n{USAGE}") }),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("remote_counter: {error}");
            ExitCode::FAILURE
        }
    }
}
