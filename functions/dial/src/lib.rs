//! A component that opens connections: each line of the body is a thing to do, such as `say 127.0.0.1 7000 hello`; the
//! answer has a line for each.

use std::net::{Ipv4Addr, SocketAddrV4};

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::{InputStream, OutputStream};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress,
};
use wasip2::sockets::tcp::TcpSocket;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp_create_socket::create_udp_socket;

struct Dial;

wasip2::http::proxy::export!(Dial);

impl Guest for Dial {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let body = read(request);
        let lines: Vec<String> = String::from_utf8_lossy(&body).lines().map(done).collect();
        answer(out, lines.join("\n").as_bytes());
    }
}

/// Does what a line says, and tells how that went.
fn done(line: &str) -> String {
    let told = match *line.split(' ').collect::<Vec<_>>() {
        ["say", host, port, words] => address(host, port).and_then(|it| say(it, words)),
        // By a name: the first of its addresses of version 4.
        ["call", host, port, words] => find(host).and_then(|it| {
            let port = port.parse().map_err(|_| ErrorCode::InvalidArgument)?;
            say(SocketAddrV4::new(it, port), words)
        }),
        ["find", host] => find(host).map(|it| it.to_string()),
        ["listen", host, port] => address(host, port).and_then(listen),
        ["datagram"] => create_udp_socket(IpAddressFamily::Ipv4).map(|_| "made".to_owned()),
        ["many", count] => many(count),
        // Waits for words that nobody says.
        ["wait", host, port] => address(host, port).and_then(wait),
        _ => Ok("what?".to_owned()),
    };
    told.unwrap_or_else(|error| format!("error {}", error.name()))
}

fn address(host: &str, port: &str) -> Result<SocketAddrV4, ErrorCode> {
    let host: Ipv4Addr = host.parse().map_err(|_| ErrorCode::InvalidArgument)?;
    Ok(SocketAddrV4::new(host, port.parse().map_err(|_| ErrorCode::InvalidArgument)?))
}

fn told(address: SocketAddrV4) -> IpSocketAddress {
    let [a, b, c, d] = address.ip().octets();
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) })
}

fn connect(
    socket: &TcpSocket,
    address: SocketAddrV4,
) -> Result<(InputStream, OutputStream), ErrorCode> {
    socket.start_connect(&instance_network(), told(address))?;
    loop {
        match socket.finish_connect() {
            Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
            ended => return ended,
        }
    }
}

/// Says words, and hears as many.
fn say(address: SocketAddrV4, words: &str) -> Result<String, ErrorCode> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    let (input, output) = connect(&socket, address)?;
    output.blocking_write_and_flush(words.as_bytes()).map_err(|_| ErrorCode::ConnectionReset)?;
    let mut heard = Vec::new();
    while heard.len() < words.len() {
        match input.blocking_read(1024) {
            Ok(bytes) => heard.extend_from_slice(&bytes),
            Err(_) => return Err(ErrorCode::ConnectionReset),
        }
    }
    Ok(format!("heard {}", String::from_utf8_lossy(&heard)))
}

fn wait(address: SocketAddrV4) -> Result<String, ErrorCode> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    let (input, _output) = connect(&socket, address)?;
    let heard = input.blocking_read(1024).map_err(|_| ErrorCode::ConnectionReset)?;
    Ok(format!("heard {}", String::from_utf8_lossy(&heard)))
}

fn find(host: &str) -> Result<Ipv4Addr, ErrorCode> {
    let found = resolve_addresses(&instance_network(), host)?;
    loop {
        match found.resolve_next_address() {
            Err(ErrorCode::WouldBlock) => found.subscribe().block(),
            Ok(Some(IpAddress::Ipv4((a, b, c, d)))) => return Ok(Ipv4Addr::new(a, b, c, d)),
            Ok(Some(IpAddress::Ipv6(_))) => {}
            Ok(None) => return Err(ErrorCode::NameUnresolvable),
            Err(error) => return Err(error),
        }
    }
}

fn listen(address: SocketAddrV4) -> Result<String, ErrorCode> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_bind(&instance_network(), told(address))?;
    socket.finish_bind()?;
    socket.start_listen()?;
    Ok("listens".to_owned())
}

/// Makes sockets until there are so many, drops them, and makes one more.
fn many(count: &str) -> Result<String, ErrorCode> {
    let count: usize = count.parse().map_err(|_| ErrorCode::InvalidArgument)?;
    let mut sockets = Vec::new();
    let refused = loop {
        match create_tcp_socket(IpAddressFamily::Ipv4) {
            Ok(_) if sockets.len() == count => break None,
            Ok(socket) => sockets.push(socket),
            Err(error) => break Some(error),
        }
    };
    let made = sockets.len();
    drop(sockets);
    create_tcp_socket(IpAddressFamily::Ipv4)?;
    Ok(format!("{made} {}", refused.map_or("none", |it| it.name())))
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
