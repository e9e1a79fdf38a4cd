-- How calls on a partner are signed: by our own headers, or by HTTP Message Signatures (RFC 9421).
-- Safe while older code runs: it signs by our own headers, as it did.

alter table partner_endpoint add column signature text not null default 'v1' check (signature in ('v1', 'rfc9421'));

insert into compatible_migration (migration) values ('20261124060100_endpoint_signature');
