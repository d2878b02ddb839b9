//! What Windows versions are called.

/// Kind of Windows, as the system information stream tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Product {
    /// The stream does not say.
    #[default]
    Unknown,
    /// For workstations: `VER_NT_WORKSTATION`.
    Workstation,
    /// A server's domain controller: `VER_NT_DOMAIN_CONTROLLER`.
    DomainController,
    /// A server: `VER_NT_SERVER`.
    Server,
}

impl Product {
    pub(super) fn of(number: u8) -> Self {
        match number {
            1 => Product::Workstation,
            2 => Product::DomainController,
            3 => Product::Server,
            _ => Product::Unknown,
        }
    }

    /// Whether it is a Windows Server.
    #[must_use]
    pub const fn is_server(self) -> bool {
        matches!(self, Product::DomainController | Product::Server)
    }
}

/// First build, what it is called for workstations, and for servers where there is one.
const RELEASES: &[(u32, &str, &str)] = &[
    (2600, "Windows XP", ""),
    (3790, "Windows XP x64", "Windows Server 2003"),
    (6000, "Windows Vista", ""),
    (6001, "Windows Vista", "Windows Server 2008"),
    (7600, "Windows 7", "Windows Server 2008 R2"),
    (9200, "Windows 8", "Windows Server 2012"),
    (9600, "Windows 8.1", "Windows Server 2012 R2"),
    (10240, "Windows 10 1507", ""),
    (10586, "Windows 10 1511", ""),
    (14393, "Windows 10 1607", "Windows Server 2016"),
    (15063, "Windows 10 1703", ""),
    (16299, "Windows 10 1709", "Windows Server 1709"),
    (17134, "Windows 10 1803", "Windows Server 1803"),
    (17763, "Windows 10 1809", "Windows Server 2019"),
    (18362, "Windows 10 1903", "Windows Server 1903"),
    (18363, "Windows 10 1909", "Windows Server 1909"),
    (19041, "Windows 10 2004", "Windows Server 2004"),
    (19042, "Windows 10 20H2", "Windows Server 20H2"),
    (19043, "Windows 10 21H1", ""),
    (19044, "Windows 10 21H2", ""),
    (19045, "Windows 10 22H2", ""),
    (20348, "", "Windows Server 2022"),
    (22000, "Windows 11 21H2", ""),
    (22621, "Windows 11 22H2", ""),
    (22631, "Windows 11 23H2", ""),
    (25398, "", "Windows Server 23H2"),
    (26100, "Windows 11 24H2", "Windows Server 2025"),
    (26200, "Windows 11 25H2", "Windows Server 2025"),
];

/// The name of the newest release that is no newer than this build.
pub(super) fn name([major, _, build]: [u32; 3], product: Product) -> Option<&'static str> {
    if major < 5 {
        return None;
    }
    let known = RELEASES.iter().rev().filter(|release| release.0 <= build);
    let mut named = known.map(|&(_, workstation, server)| match product.is_server() {
        true => server,
        false => workstation,
    });
    named.find(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_the_names_that_people_use() {
        let name = |build, product| name([10, 0, build], product);
        assert_eq!(name(26200, Product::Workstation), Some("Windows 11 25H2"));
        assert_eq!(name(26100, Product::Unknown), Some("Windows 11 24H2"));
        assert_eq!(name(26100, Product::Server), Some("Windows Server 2025"));
        assert_eq!(
            name(20348, Product::DomainController),
            Some("Windows Server 2022")
        );
        assert_eq!(name(17763, Product::Server), Some("Windows Server 2019"));
        assert_eq!(name(7601, Product::Server), Some("Windows Server 2008 R2"));
        assert_eq!(name(19045, Product::Workstation), Some("Windows 10 22H2"));
        assert_eq!(super::name([4, 0, 1381], Product::Workstation), None);
    }
}
