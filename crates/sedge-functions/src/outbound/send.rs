//! One request on its way: the addresses that were checked are those that are connected to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT_ENCODING, HeaderValue};
use hyper::{Request, Response, Uri};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use sedge_base::Secret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::place::Aim;
use super::screen::{Screen, Screened};
use super::walls::Walls;

/// How long a connection may take when the guest does not say; its own time ends it before that.
const CONNECT: Duration = Duration::from_secs(60);
/// The most addresses of one host that are looked at.
const MOST_ADDRESSES: usize = 16;

/// What still comes of a connection once its answer has begun.
pub(crate) type Transfer = Box<dyn Future<Output = Result<(), Error>> + Send>;
/// An answer, and what brings the rest of it.
pub(crate) type Answered = Result<(Response<WasiBody>, Transfer), Error>;

/// Speaks HTTP, over TLS to whom the public authorities vouch for.
#[derive(Clone)]
pub(crate) struct Client(TlsConnector);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// # Errors
    ///
    /// When this build's cryptography lacks what TLS needs, which it does not.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        Self::trusting(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect())
    }

    fn trusting(roots: RootCertStore) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

/// A connection to a server, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A request that may leave, with everything that the host adds to it.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) aim: Aim,
    pub(crate) request: Request<WasiBody>,
    pub(crate) options: RequestOptions,
    /// What the host has put into it.
    pub(crate) secrets: Vec<Secret<String>>,
    pub(crate) walls: Arc<Walls>,
    pub(crate) client: Client,
    /// Its place among the requests of its guest, kept until the answer is read.
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Sending {
    /// Sends it and returns the beginning of the answer. Redirects are answers like all others.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub(crate) async fn send(self) -> Answered {
        let most = self.options.connect_timeout.unwrap_or(CONNECT);
        let late = |_| Error::ConnectionTimeout;
        let Self { aim, mut request, options, secrets, walls, client, permit } = self;
        let connecting = connect(&aim, !secrets.is_empty(), &walls, &client);
        let stream = timeout(most, connecting).await.map_err(late)??;
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        if !secrets.is_empty() {
            // What is packed cannot be looked through.
            request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut connection = Box::pin(connection);
        let mut open = true;
        let response = async {
            let mut sent = std::pin::pin!(sender.send_request(request));
            tokio::select! {
                biased;
                answer = &mut sent => Ok(answer?),
                ended = &mut connection => {
                    open = false;
                    ended?;
                    Ok::<_, Error>(sent.await?)
                }
            }
        };
        let response = match options.first_byte_timeout {
            None => response.await?,
            Some(most) => {
                timeout(most, response).await.map_err(|_| Error::ConnectionReadTimeout)??
            }
        };
        let screen = Screen::new(secrets);
        screen.headers(response.headers())?;
        let pause = options.between_bytes_timeout;
        let response = response.map(|it| Screened::new(it, screen, pause).boxed_unsync());
        let rest = async move {
            let _permit = permit;
            if open {
                connection.await?;
            }
            Ok(())
        };
        Ok((response, Box::new(rest)))
    }
}

/// Connects to one of the addresses of the host, when the node lets functions reach all of them.
pub(crate) async fn connect(
    aim: &Aim,
    has_secrets: bool,
    walls: &Walls,
    client: &Client,
) -> Result<Box<dyn Stream>, Error> {
    let no_name = |_| Error::DnsError { rcode: None, info_code: None };
    let found = lookup_host((aim.host(), aim.port)).await.map_err(no_name)?;
    let addresses: Vec<SocketAddr> = found.take(MOST_ADDRESSES).collect();
    // A secret goes unencrypted to this machine alone, also when somebody has bound its name anew.
    let here = || addresses.iter().all(|it| it.ip().to_canonical().is_loopback());
    let exposed = has_secrets && !aim.tls() && !here();
    if exposed || !walls.allow(aim, &addresses) {
        return Err(Error::DestinationIpProhibited);
    }
    let stream = TcpStream::connect(&addresses[..]).await.map_err(Error::Connect)?;
    stream.set_nodelay(true).map_err(Error::Connect)?;
    if !aim.tls() {
        return Ok(Box::new(stream));
    }
    let name =
        ServerName::try_from(aim.host().to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let stream = client.0.connect(name, stream).await.map_err(Error::Tls)?;
    Ok(Box::new(stream))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::ServerConfig;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::outbound::Reach;

    const SECRET: &str = "s3cret-of-the-host";

    fn sending(address: &str, local: &str, client: &Client) -> Sending {
        let aim = Aim::of(&address.parse().unwrap()).unwrap();
        let body = Empty::<Bytes>::new().map_err(|it| match it {}).boxed_unsync();
        let request = Request::get(address)
            .header("host", "server")
            .header("authorization", SECRET)
            .header("accept-encoding", "gzip");
        let local = vec![local.parse().unwrap()];
        Sending {
            aim,
            request: request.body(body).unwrap(),
            options: RequestOptions::default(),
            secrets: vec![Secret::new(SECRET.to_owned())],
            walls: Arc::new(Walls { reach: Reach::Public, local }),
            client: client.clone(),
            permit: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
        }
    }

    /// Reads one request and answers; returns the request.
    async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => return String::from_utf8(request).unwrap(),
            }
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        drop(stream.shutdown().await);
        String::from_utf8(request).unwrap()
    }

    async fn read(answered: Answered) -> Result<Bytes, Error> {
        let (response, rest) = answered?;
        let (body, _) = tokio::join!(response.into_body().collect(), Box::into_pin(rest));
        Ok(body?.to_bytes())
    }

    fn answer(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn over_tls_only_whom_an_authority_vouches_for_gets_the_secret() {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let accepted = async || {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await
        };

        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let trusting = Client::trusting(roots).unwrap();
        let served = async { serve(accepted().await.unwrap(), &answer("hello")).await };
        let asked = async { read(sending(&place, &place, &trusting).send().await).await.unwrap() };
        let (request, body) = tokio::join!(served, asked);
        assert_eq!(body, "hello");
        assert!(request.starts_with("GET / HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("accept-encoding: identity\r\n"), "{request}");
        assert!(request.contains(SECRET), "{request}");

        let public = Client::new().unwrap();
        let (served, asked) = tokio::join!(accepted(), sending(&place, &place, &public).send());
        assert!(served.is_err(), "no handshake, so no request");
        assert!(matches!(asked, Err(Error::Tls(_))));
    }

    #[tokio::test]
    async fn an_answer_that_repeats_the_secret_is_broken_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::new().unwrap();
        let echo = format!("HTTP/1.1 200 OK\r\nx-echo: {SECRET}\r\ncontent-length: 0\r\n\r\n");
        for said in [answer(&format!("bad token {SECRET}")), echo] {
            let served = async { serve(listener.accept().await.unwrap().0, &said).await };
            let asked = async { read(sending(&place, &place, &client).send().await).await };
            let (_, asked) = tokio::join!(served, asked);
            let error = asked.unwrap_err();
            assert!(error.to_string().contains("repeats a secret"), "{error}");
            assert!(!error.to_string().contains(SECRET));
        }
    }

    #[tokio::test]
    async fn this_machine_is_not_reached_unless_it_was_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = Client::new().unwrap();
        // A name that means this machine, an address, and odd ways to write it.
        for host in ["localhost", "127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"] {
            let asked = sending(&format!("http://{host}:{port}/"), "http://other", &client);
            let refused = asked.send().await.map(drop).unwrap_err();
            assert!(matches!(refused, Error::DestinationIpProhibited), "{host}: {refused}");
        }
    }
}
