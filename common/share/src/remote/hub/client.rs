//! Requests to the Hub, and to the stores that it names: asked again where that can help, with the token to the Hub
//! alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::redact::redacted;
use crate::remote::calls::Calls;
use crate::remote::hub::wire::Complaint;

/// How often a request is sent again, and how long the first pause is; each further one is twice as long.
const AGAIN: u32 = 6;
const PAUSE: Duration = Duration::from_millis(100);
/// A server that wants to be left alone for longer is the user's to judge. The Hub counts requests by five minutes.
const LONGEST_PAUSE: u64 = 330;
/// How long an answer may take, or a piece on its way there.
const PATIENCE: Duration = Duration::from_mins(5);
/// An answer beyond this is none.
const LARGEST_ANSWER: usize = 64 << 20;
/// Where the Hub is, by its own account.
const HUB: &str = "https://huggingface.co/";

/// A way to the Hub.
pub(super) struct Client {
    pub calls: Arc<Calls>,
    http: reqwest::Client,
    endpoint: String,
    token: String,
}

/// An answer.
pub(super) struct Said {
    pub status: u16,
    pub headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    pub fn new(calls: Arc<Calls>, endpoint: &str, token: String) -> Result<Client> {
        let fails = |what: String| Error::Location {
            place: calls.place.clone(),
            what,
            hint: "check HF_TOKEN, and the certificates of this machine".into(),
        };
        if HeaderValue::from_str(&token).is_err() {
            return Err(fails("the hub's token has signs that no token has".into()));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("rslad/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| fails(in_a_line(&error.to_string())))?;
        Ok(Client { calls, http, endpoint: endpoint.into(), token })
    }

    /// An address of the Hub's interface.
    pub fn address(&self, path: &str) -> String {
        format!("{}/{path}", self.endpoint)
    }

    /// An address that the Hub gave: its own name is the one that was asked.
    pub fn given(&self, address: &str) -> String {
        match address.strip_prefix(HUB) {
            Some(path) => self.address(path),
            None => address.into(),
        }
    }

    /// A request, with the token if it goes to the Hub.
    pub fn request(&self, method: Method, address: &str) -> RequestBuilder {
        let request = self.http.request(method, address);
        let is_hub = address.strip_prefix(&self.endpoint).is_some_and(|path| path.starts_with('/'));
        if is_hub { request.bearer_auth(&self.token) } else { request }
    }

    /// A request with JSON.
    pub fn post(&self, address: &str, body: &Value) -> Result<Said> {
        let body = body.to_string();
        self.ask(&|| {
            let request = self.request(Method::POST, address).header("content-type", "application/json");
            Ok(request.body(body.clone()))
        })
    }

    pub fn get(&self, address: &str) -> Result<Said> {
        self.ask(&|| Ok(self.request(Method::GET, address)))
    }

    /// Sends a request that takes [`PATIENCE`] at most.
    pub fn ask(&self, request: &dyn Fn() -> Result<RequestBuilder>) -> Result<Said> {
        self.ask_while(request, &|began| began.elapsed() < PATIENCE)
    }

    /// Sends a request for as long as it moves, by its begin, and again where the server is busy or the way there breaks.
    pub fn ask_while(
        &self,
        request: &dyn Fn() -> Result<RequestBuilder>,
        moves: &dyn Fn(Instant) -> bool,
    ) -> Result<Said> {
        let mut again = 0;
        loop {
            let began = Instant::now();
            let sent = self.calls.until(answer_to(request()?), || !moves(began))?;
            let (what, pause) = match sent {
                Some(Ok(said)) if !said.is_busy() => return Ok(said),
                Some(Ok(said)) => (said.in_words(&self.token), said.wanted_pause()),
                Some(Err(what)) => (what.replace(&self.token, "***"), None),
                None => ("no answer came".into(), None),
            };
            let pause = match pause {
                Some(seconds) if seconds <= LONGEST_PAUSE => Duration::from_secs(seconds),
                Some(seconds) => return Err(self.broken(format!("{what}; not before {seconds} seconds"))),
                None => PAUSE * 2_u32.pow(again),
            };
            if again == AGAIN {
                return Err(self.broken(what));
            }
            again += 1;
            self.calls.pause(pause)?;
        }
    }

    pub fn broken(&self, what: String) -> Error {
        Error::Broken { place: self.calls.place.clone(), what }
    }

    /// What an answer holds; a refusal is one.
    pub fn read<T: DeserializeOwned>(&self, said: &Said) -> Result<T> {
        if !said.is_fine() {
            return Err(self.refusal(said));
        }
        let strange = |error: serde_json::Error| {
            self.broken(in_a_line(&format!("its answer is not understood: {error}")))
        };
        serde_json::from_slice(&said.body).map_err(strange)
    }

    /// A refusal in the words of whoever refused, and what can be done about it.
    pub fn refusal(&self, said: &Said) -> Error {
        let hint = match (said.status, said.code()) {
            (_, "GatedRepo") => "ask for access on the data set's page, with the account of the token",
            (401, _) => "the token is not known there: set HF_TOKEN, or log in with `hf auth login`",
            (403, _) => {
                "the token may not write there: take one that may, from the account's settings, or ask the data set's owner"
            }
            (404, _) => "check the URL, and that the token may see the data set",
            (413, _) => "label it with fewer images a shard: `label run --shard-images`",
            _ => "check the URL, and what docs/sharing.md says of the Hub",
        };
        Error::Denied { place: self.calls.place.clone(), what: said.in_words(&self.token), hint: hint.into() }
    }
}

impl Said {
    pub fn is_fine(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn is_busy(&self) -> bool {
        self.status >= 500 || matches!(self.status, 408 | 429)
    }

    /// The Hub's own code for a refusal.
    pub fn code(&self) -> &str {
        self.header("x-error-code")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Seconds that the server wants to be left alone for.
    fn wanted_pause(&self) -> Option<u64> {
        if let Ok(seconds) = self.header("retry-after").trim().parse() {
            return Some(seconds);
        }
        // `"api";r=0;t=55`: nothing remains, and 55 seconds until there is something again.
        let limit = self.header("ratelimit");
        let number =
            |name: &str| limit.split(';').find_map(|part| part.trim().strip_prefix(name)?.parse().ok());
        (self.status == 429 && number("r=") == Some(0)).then(|| number("t="))?
    }

    fn in_words(&self, token: &str) -> String {
        let said = Some(self.header("x-error-message")).filter(|said| !said.is_empty());
        let complaint = || serde_json::from_slice::<Complaint>(&self.body).ok().map(|said| said.error);
        let body = || String::from_utf8_lossy(&self.body).into_owned();
        let words = said.map(str::to_owned).or_else(complaint).unwrap_or_else(body);
        in_a_line(&format!("{} {words}", self.status).replace(token, "***"))
    }
}

/// An answer with its body, or what went wrong on the way.
async fn answer_to(request: RequestBuilder) -> std::result::Result<Said, String> {
    // The addresses of stores are signed.
    let in_words = |error: reqwest::Error| {
        let error = error.without_url();
        let causes = std::iter::successors(std::error::Error::source(&error), |&cause| cause.source());
        let cause = causes.last().map_or(String::new(), |cause| format!(": {cause}"));
        in_a_line(&format!("{error}{cause}"))
    };
    let mut answer = request.send().await.map_err(in_words)?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(in_words)? {
        body.extend(piece);
        if body.len() > LARGEST_ANSWER {
            return Err(format!("its answer has more than {LARGEST_ANSWER} bytes"));
        }
    }
    Ok(Said { status, headers, body })
}

/// Words of others as they may be shown.
fn in_a_line(words: &str) -> String {
    let line = redacted(&words.split_whitespace().collect::<Vec<_>>().join(" "));
    match line.char_indices().nth(600) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_server_wants_to_be_left_alone_is_in_either_of_two_headers() {
        // The second as huggingface_hub.utils.parse_ratelimit_headers documents it.
        let limit = "\"api\";r=0;t=55";
        for (status, name, value, wanted) in [
            (429, "retry-after", "7", Some(7)),
            (503, "retry-after", "0", Some(0)),
            (429, "retry-after", "Wed, 21 Oct 2015 07:28:00 GMT", None),
            (429, "ratelimit", limit, Some(55)),
            (500, "ratelimit", limit, None),
            (429, "ratelimit", "\"api\";r=3;t=55", None),
            (429, "other", "1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            let said = Said { status, headers, body: Vec::new() };
            assert_eq!(said.wanted_pause(), wanted, "{status} {name}: {value}");
        }
    }

    #[test]
    fn what_is_said_is_shown_without_the_token() {
        let said = |name, value: &'static str, body: &str| {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
            Said { status: 400, headers, body: body.into() }.in_words("hf_secret")
        };
        let [message, other] = ["x-error-message", "x"].map(reqwest::header::HeaderName::from_static);
        assert_eq!(said(message.clone(), "no hf_secret", ""), "400 no ***");
        assert_eq!(said(other.clone(), "", r#"{"error": "see\n hf_secret"}"#), "400 see ***");
        assert_eq!(said(other, "", "Bearer hf_secret"), "400 Bearer ***");
    }
}
