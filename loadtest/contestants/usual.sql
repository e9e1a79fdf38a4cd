-- The tables of usual.prisma, as `prisma migrate diff` writes them; its engine cannot be had everywhere.
create table "Member" ("id" serial primary key, "code" text not null, "balance" bigint not null default 0);
create unique index "Member_code_key" on "Member" ("code");
create table "Accrual" (
  "id" uuid primary key,
  "reference" text not null,
  "memberId" integer not null references "Member" ("id"),
  "points" bigint not null,
  "occurredAt" timestamptz(3) not null,
  "request" json not null
);
create unique index "Accrual_reference_key" on "Accrual" ("reference");
create table "Entry" (
  "id" bigserial primary key,
  "memberId" integer not null references "Member" ("id"),
  "accrualId" uuid not null references "Accrual" ("id"),
  "points" bigint not null,
  "balanceAfter" bigint not null,
  "createdAt" timestamptz(3) not null default current_timestamp
);
create index "Entry_memberId_id_idx" on "Entry" ("memberId", "id");
insert into "Member" ("code") select 'm-' || lpad(number::text, 7, '0') from generate_series(0, 9999) as number;
analyze "Member";
