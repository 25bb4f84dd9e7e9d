/**
 * Names that no tenant gets. Threat: a tenant whose host other programs believe in by its name (mail settings, proxies, certificate
 * authorities that write to a mailbox), whose name people take for ours, or whose name looks like another tenant's.
 */
const NAMES = new Set(
  [
    // Mailboxes by which a domain is governed: RFC 2142, and the CA/Browser Forum's Baseline Requirements 3.2.2.4.4.
    'abuse admin administrator ftp hostmaster noc postmaster root security ssladmin sslwebmaster support sysadmin usenet uucp webmaster www',
    // Names of special use: RFC 6761.
    'invalid localhost onion',
    // Hosts that programs look for by themselves: WPAD, ISATAP (RFC 5214), MTA-STS (RFC 8461), mail clients, BIMI, time.
    'autoconfig autodiscover bimi isatap mta-sts ntp wpad',
    // Hosts that serve a domain.
    'assets cdn dns email imap mail mx ns pop pop3 smtp static vpn webdisk webmail',
    // What people take for ours.
    'account accounts api app apps auth billing blog console dashboard docs help id identity internal login logout oauth oidc openid platform portal register signin signup sso status test-api',
  ].flatMap((line) => line.split(' ')),
)

/**
 * True for a reserved name, for a numbered one of a server (`ns1`, `mx2`), and for every label with hyphens in its third and fourth
 * place (RFC 5890): `xn--` shows as other letters than it is made of.
 */
export const isReserved = (name: string) => NAMES.has(name) || /^(ns|mx|dns|mail|smtp|www)\d+$/.test(name) || /^..--/.test(name)
