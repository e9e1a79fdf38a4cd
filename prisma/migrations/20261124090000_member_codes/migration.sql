-- Codes of promotions that members have activated, in an app or at the counter.
-- Safe while older code runs: it does not know the table, and judges by the codes of the receipt alone, as before.
create table member_code (
  member bigint not null references member,
  code text not null,
  -- By the program's own clock.
  activated_at timestamptz not null,
  activated_by text not null,
  primary key (member, code)
);

insert into compatible_migration (migration) values ('20261124090000_member_codes');
