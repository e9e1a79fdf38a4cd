-- Partners: what is agreed with each, by which rates points are exchanged, what prepaid partners bought, and what members have
-- exchanged, for the caps of contracts and the limits against abuse.
-- Safe while older code runs: it does not know the tables.
--
-- Two versions of one line never hold at once: exclusion constraints see to it, whoever writes. They compare ranges alone
-- (the number as a range of one number), which every PostgreSQL can index, so that no extension has to be installed.

create table partner (
  -- Its party in the ledger.
  partner integer generated always as identity primary key,
  program integer not null references program,
  name text not null,
  title text not null,
  status text not null check (status in ('active', 'suspended')),
  -- The client whose keys sign the partner's calls.
  client integer not null unique references client,
  changed_at timestamptz not null default clock_timestamp(),
  unique (program, name)
);

-- The files that were applied, byte for byte.
create table partner_file (
  partner integer not null references partner,
  change integer not null check (change >= 1),
  source text not null,
  digest text not null,
  applied_at timestamptz not null default now(),
  applied_by text not null,
  primary key (partner, change)
);
select make_append_only('partner_file');

-- A version that was withdrawn before it began ends when it would have begun.
create table partner_contract (
  partner integer not null references partner,
  version integer not null check (version >= 1),
  -- In the program's own time.
  effective_from timestamptz not null,
  effective_until timestamptz check (effective_until >= effective_from),
  terms json not null,
  applied_at timestamptz not null default now(),
  applied_by text not null,
  primary key (partner, version),
  constraint partner_contract_overlap exclude using gist (
    int4range(partner, partner, '[]') with =,
    tstzrange(effective_from, effective_until) with &&
  ) deferrable
);

-- What versions of rates follow one another on.
create table partner_line (
  line integer generated always as identity primary key,
  partner integer not null references partner,
  direction text not null check (direction in ('out', 'in')),
  -- Code of the program's own currency.
  currency text not null,
  tier text,
  unique nulls not distinct (partner, direction, currency, tier)
);

create table partner_rate (
  partner integer not null references partner,
  version integer not null check (version >= 1),
  line integer not null references partner_line,
  effective_from timestamptz not null,
  effective_until timestamptz check (effective_until >= effective_from),
  announced_at timestamptz,
  terms json not null,
  applied_at timestamptz not null default now(),
  applied_by text not null,
  primary key (partner, version),
  constraint partner_rate_overlap exclude using gist (
    int4range(line, line, '[]') with =,
    tstzrange(effective_from, effective_until) with &&
  ) deferrable
);

-- Of both, nothing changes but the end.
create function check_terms_stay() returns trigger language plpgsql as $$
begin
  if (to_jsonb(new) - 'effective_until') is distinct from (to_jsonb(old) - 'effective_until') then
    raise exception 'version % of partner % is not changed; it ends, and another one begins', old.version, old.partner
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger terms_stay before update on partner_contract for each row execute function check_terms_stay();
create trigger terms_stay before update on partner_rate for each row execute function check_terms_stay();

-- ── What prepaid partners bought ────────────────────────────────────────────────────────────────────────────────────

create table partner_block (
  block bigint generated always as identity primary key,
  partner integer not null references partner,
  reference text not null,
  points bigint not null check (points > 0),
  drawn bigint not null default 0 check (drawn between 0 and points),
  effective_from timestamptz not null,
  effective_until timestamptz check (effective_until > effective_from),
  is_reserve boolean not null,
  bought_at timestamptz not null default now(),
  bought_by text not null,
  unique (partner, reference)
);
create index partner_block_open on partner_block (partner, effective_from, block) where drawn < points;

-- What a movement drew from a block, and what came back to it.
create table partner_draw (
  partner integer not null references partner,
  movement text not null,
  block bigint not null references partner_block,
  points bigint not null check (points > 0),
  returned bigint not null default 0 check (returned between 0 and points),
  primary key (partner, movement, block)
);
create table partner_draw_return (
  partner integer not null references partner,
  reversal text not null,
  movement text not null,
  points bigint not null check (points > 0),
  primary key (partner, reversal)
);

-- ── What members exchanged ──────────────────────────────────────────────────────────────────────────────────────────

-- One row an exchange that was let through; it counts until it is given back.
create table exchange_use (
  exchange uuid primary key,
  program integer not null,
  partner integer not null references partner,
  member bigint not null,
  direction text not null check (direction in ('out', 'in')),
  currency text not null,
  give bigint not null check (give > 0),
  receive bigint not null check (receive > 0),
  -- Keyed hash of what the member showed, and the till, as far as they are known.
  card text,
  terminal text,
  -- The request's time by the program's own clock, and its day in the program's zone.
  made_at timestamptz not null,
  day date not null,
  -- Whether it stands in `partner_day`.
  of_day boolean not null,
  given_back_at timestamptz
);
create index exchange_use_member on exchange_use (member, made_at) where given_back_at is null;
create index exchange_use_card on exchange_use (program, card, made_at) where given_back_at is null and card is not null;
create index exchange_use_terminal on exchange_use (program, terminal, made_at)
  where given_back_at is null and terminal is not null;

-- Points of this program that all members exchange with a partner in a day, where its contract bounds them.
create table partner_day (
  partner integer not null references partner,
  direction text not null check (direction in ('out', 'in')),
  day date not null,
  points bigint not null check (points >= 0),
  primary key (partner, direction, day)
);

-- What was decided about an exchange, and by which limits.
create table exchange_judgement (
  judgement bigint generated always as identity primary key,
  exchange uuid not null,
  program integer not null,
  partner integer not null,
  member bigint not null,
  outcome text not null check (outcome in ('allowed', 'review', 'refused')),
  reasons json not null,
  -- By the program's own clock.
  made_at timestamptz not null,
  decided_at timestamptz not null default now()
);
create index exchange_judgement_exchange on exchange_judgement (exchange);
create index exchange_judgement_member on exchange_judgement (member, judgement);

insert into compatible_migration (migration) values ('20261123140000_partners');
