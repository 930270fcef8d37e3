//! Every definition in proto/ is compiled; a new one needs no line here.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    seawall_build::compile_all("proto")?;
    Ok(())
}
