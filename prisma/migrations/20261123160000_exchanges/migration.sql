-- Exchanges of points with partners: the account that stands for what went there or came from there, the rows that decide what
-- becomes of an exchange, every step of it, and what was found not to fit.
-- Safe while older code runs: it does not know the tables. (An older ledger writer leaves records of exchanges to a newer one;
-- replace all writers before the first exchange.)

alter type account add value if not exists 'partner';

-- Where a partner is called, and with which key. The secret is sealed with the installation's identity key.
create table partner_endpoint (
  partner integer primary key,
  program integer not null references program,
  url text not null,
  key_id text not null,
  secret_sealed bytea not null,
  calls_at_once integer not null default 16 check (calls_at_once between 1 and 256),
  changed_at timestamptz not null default now()
);

-- An exchange, from its quote on. Its row decides: what happens in the wallet and at the partner follows from its state.
create table exchange (
  exchange uuid primary key,
  program integer not null references program,
  member bigint not null references member,
  partner integer not null,
  direction text not null check (direction in ('out', 'in')),
  -- The program's own currency, and what moves in it here; the currency of the partner, and what moves in it there.
  currency smallint not null,
  own_points bigint not null check (own_points > 0),
  partner_currency text not null,
  partner_points bigint not null check (partner_points > 0),
  -- The member's account at the partner, sealed for the member.
  account_sealed bytea not null,
  -- What was quoted: give, receive, base, bonus, fee, rate. Never computed again.
  terms json not null,
  quoted_at bigint not null,
  quote_expires_at bigint not null,
  -- Of the program's own calendar, for caps.
  day date not null,
  -- What the partner is told it happened at; the same in every send. Real time, epoch ms.
  occurred_at bigint,
  client integer,
  reference_key uuid unique,
  fingerprint text,
  request json,
  state text not null check (state in ('quoted', 'holding', 'ready', 'calling', 'waiting', 'capturing', 'releasing', 'crediting',
    'undoing', 'in_review', 'completed', 'refused', 'reversed')),
  -- The state that a person has to decide on.
  review_of text,
  refusal json,
  -- Something was sent of which nobody knows what became.
  in_doubt boolean not null default false,
  -- Whether it was so before the last send.
  was_in_doubt boolean not null default false,
  tries integer not null default 0,
  hold uuid,
  moved uuid,
  partner_operation text,
  sent_at timestamptz,
  -- When somebody has to go on with it; null where nobody has to.
  due_at timestamptz,
  -- When the partner is asked once more about what it has refused.
  check_at timestamptz,
  checks smallint not null default 0,
  -- The last state that was told as an event.
  told text,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now(),
  check ((state = 'quoted') = (reference_key is null) and (state = 'in_review') = (review_of is not null))
);
create index exchange_due on exchange (partner, due_at) where due_at is not null;
create index exchange_check on exchange (check_at) where check_at is not null;
create index exchange_open on exchange (changed_at) where state not in ('quoted', 'completed', 'refused', 'reversed');
create index exchange_member on exchange (member, partner, day) where state not in ('quoted', 'refused', 'reversed');
create index exchange_quoted on exchange (created_at) where state = 'quoted';
create index exchange_untold on exchange (exchange)
  where state in ('completed', 'refused', 'reversed', 'in_review') and told is distinct from state;

-- What was done about an exchange, and what came of it. An outcome of 'sent' is a call that nobody has heard of again.
create table exchange_step (
  step bigint generated always as identity primary key,
  exchange uuid not null references exchange on delete cascade,
  at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  action text not null,
  outcome text not null,
  detail json
);
create index exchange_step_of on exchange_step (exchange, step);

-- What both sides say differently. A person looks at it; nothing is moved by it.
create table exchange_break (
  exchange uuid not null references exchange,
  kind text not null check (kind in ('late_success', 'late_refusal', 'reply_differs')),
  found_at timestamptz not null default now(),
  detail json not null,
  resolved_at timestamptz,
  resolution text,
  told boolean not null default false,
  primary key (exchange, kind)
);
create index exchange_break_open on exchange_break (found_at) where resolved_at is null;

insert into compatible_migration (migration) values ('20261123160000_exchanges');
