-- Calls of partners: the secrets that sign them, the nonces that were used, which members have linked their account with whom.
-- Safe while older code runs: it does not know the tables. (A key of role partner that an older process makes has no secret; make
-- it anew.)

-- A secret signs, so it must be readable, unlike a key's token: it is sealed with the installation's identity key. At most two of a
-- key are live.
create table partner_secret (
  key text not null references api_key,
  number integer not null,
  sealed bytea not null,
  created_at timestamptz not null default now(),
  -- Set once another one follows it.
  ends_at timestamptz,
  primary key (key, number)
);

-- A nonce that was used, for as long as its timestamp would be accepted. It must outlive a kill of every process, and of Redis,
-- and so stands here: a logged table, committed before the call does anything.
create table partner_nonce (
  key text not null,
  nonce text not null,
  until timestamptz not null,
  primary key (key, nonce)
);
create index partner_nonce_until on partner_nonce (until);

-- A member who has proved by a one-time code that an account here and one at a partner are theirs. Ended, never removed, but for its
-- account when the member is erased.
create table partner_link (
  link bigint generated always as identity primary key,
  program integer not null references program,
  -- The client of the partner's keys.
  client integer not null references client,
  member bigint not null references member,
  -- The account at the partner: keyed hash and sealed text, as identifiers have it.
  account_hash bytea,
  account_sealed bytea,
  -- Whose code proved it: ours, given to the partner, or the partner's, given to us.
  code_of text not null check (code_of in ('us', 'partner')),
  linked_at timestamptz not null default now(),
  linked_by text not null,
  unlinked_at timestamptz,
  unlinked_by text,
  check ((unlinked_at is null) = (unlinked_by is null))
);
create unique index partner_link_member on partner_link (client, member) where unlinked_at is null;
create unique index partner_link_account on partner_link (client, account_hash) where unlinked_at is null;
create index partner_link_of_member on partner_link (member);

-- A one-time code that a member was given for one partner.
create table partner_link_code (
  code_hash bytea primary key,
  program integer not null,
  client integer not null,
  member bigint not null references member,
  made_at timestamptz not null default now(),
  ends_at timestamptz not null,
  used_at timestamptz,
  -- For which account it was used: the same call again is answered again.
  used_for bytea
);
create index partner_link_code_member on partner_link_code (member);
create index partner_link_code_end on partner_link_code (ends_at);

-- Tries of a partner to validate an account, in the hour since the first of them.
create table partner_attempt (
  client integer not null,
  subject bytea not null,
  since timestamptz not null default now(),
  tries integer not null,
  primary key (client, subject)
);
create index partner_attempt_since on partner_attempt (since);

insert into compatible_migration (migration) values ('20261123150000_partner_calls');
