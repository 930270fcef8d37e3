//! The `seawall` command.

fn main() {
    let mut args = std::env::args().skip(1);
    let (listen, upstream) = (args.next().expect("listen"), args.next().expect("upstream"));
    let running = seawall_gateway::Gateway::start(listen.parse().expect("address"), &upstream)
        .expect("starts");
    eprintln!("listening on {}", running.addr);
    loop {
        std::thread::park();
    }
}
