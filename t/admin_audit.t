#!/usr/bin/perl

# Why: what a tenant is shown of its audit is for that tenant alone, is what
# the log has, and looking at it leaves a trace like everything else.

use strict;
use warnings;

use JSON::PP ();
use POSIX qw(strftime);

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Calls qw();
use Test::Lockbox::Trail;

my $AUDIT = '/lockbox/v1/tenants/acme/audit';
my $GLOBEX = '/lockbox/v1/tenants/globex/audit';
my $NOWHERE = '/lockbox/v1/tenants/nowhere/audit';
my $TIME = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

my $json = JSON::PP->new->utf8;

$PEOPLE{'tenant-auditor'} = [ 'customer', sub => 'ada',
    claims => { roles => [], groups => ['eyes'] } ];
$PEOPLE{'other-auditor'} = [ 'customer', sub => 'olga',
    claims => { roles => [], groups => ['eyes'], tenant_id => 'globex' } ];

my $t = Test::Lockbox->new;

begin($t, issuers => issuers());

# of both tenants, some of it
my $id = approved();
my $other = file();
my $grant = collect($id);

knock($grant) for 1 .. 5;
knock($grant, 'GET', '/tenants/acme/mail/"\\%C3%A9',
      headers => { 'User-Agent' => "\xff\xe2\x80\xae" });
knock($grant, 'DELETE');
file(tenant => 'globex') for 1 .. 3;
complete_last($_) for qw(acme globex);

whole();
roles();
reading_is_audited();
bad_parameters();
cursors();
filters();
short_pages();
complete_until();
forged();
gone();

done_testing();


# The customers' provider knows auditors, too, each of one tenant.
sub issuers {
    return <<'EOF_ISSUERS';
lockbox_issuer https://login.vendor.example {
    keys      %%TESTDIR%%/vendor.jwks.json;
    audience  lockbox;
    role      engineer  groups=support-engineers;
    role      manager   /realm_access/roles=managers;
    role      auditor   groups=auditors;
}

lockbox_issuer https://login.customers.example {
    keys          %%TESTDIR%%/customers.jwks.json;
    audience      lockbox;
    role          customer  roles=lockbox-approver;
    role          auditor   groups=eyes;
    tenant_claim  tenant_id;
}
EOF_ISSUERS
}

sub read_audit {
    my ($who, $uri, %query) = @_;

    my $query = join '&', map { "$_=$query{$_}" } sort keys %query;
    my $response = ask($who, 'GET', $query ne '' ? "$uri?$query" : $uri);

    $response->status == 200 or die $response->body;

    return $response;
}

sub page {
    return read_audit(@_)->json;
}

# All pages; the test would never end if they did not.
sub all_pages {
    my ($who, $uri, %query) = @_;

    my @pages;

    while (@pages < 200) {
        my $page = page($who, $uri, %query);

        push @pages, $page->{records};
        $query{cursor} = $page->{next} // return @pages;
    }

    die "pages without an end\n";
}

sub lines {
    return reverse lines_of($t, @_);
}

# What Redis has, decoded.
sub shown {
    return map { $_->{record} } reverse trail(@_);
}

sub rfc3339 {
    my ($ms) = @_;

    return strftime('%Y-%m-%dT%H:%M:%S', gmtime $ms / 1000)
           . sprintf '.%03dZ', $ms % 1000;
}

# How often Redis was asked for records.
sub questions {
    return redis('INFO', 'commandstats') =~ /cmdstat_xrevrange:calls=(\d+)/
        ? $1 : 0;
}


sub whole {
    my $text = join ',', lines('acme');
    my $response = read_audit('customer', $AUDIT, limit => 100);

    is($response->header('content-type'), 'application/json', 'JSON');
    is($response->header('cache-control'), 'no-store', 'not to be cached');
    is($response->body =~ /\A\{"records":\[(.*)\],"complete_until":/ && $1,
       $text, 'what the log has, newest first, to the byte');
    is_deeply([ sort keys %{ $response->json } ],
              [ qw(complete_until next records silent) ], 'its members');
    is($response->json->{next}, undef, 'there is no more');
    is(scalar(grep { $_->{'organization.id'} ne 'acme' }
              @{ $response->json->{records} }), 0, 'nothing of anybody else');
    is(ask('customer', 'HEAD', $AUDIT)->status, 200, 'HEAD is GET');
}

sub roles {
    my %may = map { $_ => 1 } qw(customer second-customer auditor
                                 tenant-auditor);
    my %elsewhere = map { $_ => 1 } qw(other-customer other-auditor);

    for my $who (sort(keys %PEOPLE), 'nobody') {
        my $want = $who eq 'nobody' ? '401 no_token'
            : $may{$who} ? '200 ok'
            : $elsewhere{$who} ? '404 not_found' : '403 forbidden_role';

        records();
        my $asked = questions();
        my $response = ask($who, 'GET', $AUDIT);
        my @words = record_words(records());

        is(outcome($response), $want, "W12: $who, of acme");

        next if $may{$who};

        is_deeply(\@words, [ 'end audit_read ' . (split ' ', $want)[1] ],
                  '... is recorded once');
        is(questions(), $asked, '... and Redis is not asked');
        is($response->body, ask($who, 'GET', $NOWHERE)->body,
           '... and told the same of a tenant that never was');
    }

    is(outcome(ask($_, 'GET', $GLOBEX)), '200 ok', "$_, of globex")
        for qw(other-customer other-auditor auditor);
    is_deeply(page('auditor', '/lockbox/v1/tenants/never/audit')->{records},
              [], 'of a tenant that never was an auditor sees nothing');
    is(outcome(ask('customer', $_, $AUDIT)), '405 method_not_allowed', $_)
        for qw(POST PUT DELETE);
}

sub reading_is_audited {
    complete_last('acme');
    records();

    my $before = page('customer', $AUDIT, limit => 100)->{records};
    my @mine = records();

    is_deeply([ record_words(@mine) ],
              [ 'start audit_read', 'end audit_read allow' ],
              'A24: reading is on record, before and after');
    is($_->{'user.id'}, 'carl', '... by whom') for @mine;
    is($_->{'organization.id'}, 'acme', '... of which tenant') for @mine;

    complete_last('acme');

    my $page = page('second-customer', $AUDIT, limit => 2)->{records};

    is_deeply([ map { "$_->{'event.id'} $_->{'event.type'}" } @$page ],
              [ map { "$_->{'event.id'} $_->{'event.type'}" } reverse @mine ],
              'A24: and in the next page');

    # what cannot be recorded does not happen
    my $dir = $t->testdir;

    rename "$dir/audit.log", "$dir/real.log" or die "audit.log: $!\n";
    symlink '/dev/full', "$dir/audit.log" or die "audit.log: $!\n";
    $t->signal('USR1');
    $t->wait_for(sub {
        outcome(ask('customer', 'GET', $AUDIT)) eq '503 audit_unavailable';
    }, undef, 'a full disk');

    my $asked = questions();

    is(outcome(ask('customer', 'GET', $AUDIT)), '503 audit_unavailable',
       'A24: what cannot be recorded');
    is(questions(), $asked, '... does not happen');

    rename "$dir/real.log", "$dir/audit.log" or die "audit.log: $!\n";
    $t->signal('USR1');
    $t->wait_for(sub { ask('customer', 'GET', $AUDIT)->status == 200 }, undef,
                 'room on the disk');
}

sub bad_parameters {
    my %bad = (
        'tenant=acme&tenant=globex' => 'tenant', 'tenant=acme' => 'tenant',
        'limit=0' => 'limit', 'limit=101' => 'limit', 'limit=ten' => 'limit',
        'limit=' => 'limit', 'limit=5&limit=5' => 'limit',
        'since=yesterday' => 'since', 'since=1700000000' => 'since',
        'since=2026-01-01T00:00:00Z&since=2026-01-01T00:00:00Z' => 'since',
        'until=2026-13-01T00:00:00Z' => 'until', 'until=' => 'until',
        'request=none' => 'request', "request=\U$id" => 'request',
        "request=$id&request=$id" => 'request',
        'cursor=' => 'cursor', 'cursor=x' => 'cursor', 'cursor=1' => 'cursor',
        'cursor=0-0-0' => 'cursor', 'cursor=00-0-0' => 'cursor',
        'cursor=1-1' => 'cursor', 'cursor=1-1-1-1' => 'cursor',
        'cursor=1-1.1' => 'cursor', 'cursor=' . '9' x 16 . '-1-1' => 'cursor',
        'cursor=1-' . '9' x 16 . '-1' => 'cursor',
        'cursor=1-1-' . '9' x 16 => 'cursor',
        'cursor=1-1-1&cursor=1-1-1' => 'cursor',
        'cursor=' . '1' x 65 => 'cursor',
        'state=approved' => 'state', 'Limit=1' => 'Limit', 'a=b' => 'a',
    );

    for my $query (sort keys %bad) {
        my $before = contents();
        records();
        my $response = ask('customer', 'GET', "$AUDIT?$query");

        is(outcome($response), '400 invalid_member', "W13: $query");
        is($response->json->{member}, $bad{$query}, '... is named');
        is_deeply(contents(), $before, '... and changes nothing');
        is((map { $_->{'event.reason'} } grep { $_->{'event.type'} eq 'end' }
            grep { $_->{'event.action'} eq 'audit_read' } records())[0],
           'invalid_member', '... and is on record');
    }

    is(outcome(ask('customer', 'GET', "$AUDIT?limit=5&request=$id"
                   . '&since=2020-01-01T00:00:00Z&until=2999-01-01T00:00:00Z'
                   . '&cursor=1-1-1')), '200 ok', 'W13: all of them, well');
}

sub cursors {
    complete_last('acme');

    my @all = shown('acme');

    # each page read adds to the trail, at its other end
    for my $limit (7, 20, 100) {
        my @pages = all_pages('customer', $AUDIT, limit => $limit);
        my @records = map { @$_ } @pages;

        is(scalar(grep { @$_ > $limit } @pages), 0, "pages of $limit");

        shift @records
            while $records[0]{'event.id'} ne $json->decode($all[0])
                  ->{'event.id'};
        is_deeply(\@records, [ map { $json->decode($_) } @all ],
                  '... are all of the trail, whatever is added meanwhile');
    }

    my $cursor = page('customer', $AUDIT, limit => 10)->{next};

    for my $who (qw(other-customer other-auditor auditor)) {
        my @records = @{ page($who, $GLOBEX, cursor => $cursor)->{records} };

        cmp_ok(scalar @records, '>', 0, "W12: $who, with acme's cursor");
        is(scalar(grep { $_->{'organization.id'} ne 'globex' } @records), 0,
           'W12: ... sees what is of globex, and nothing else');
    }

    is(outcome(ask('other-customer', 'GET', "$AUDIT?cursor=$cursor")),
       '404 not_found', 'W12: a cursor opens nothing');
    like($cursor, qr/^\d+-\d+-\d+$/, 'W12: and names nothing');
}

sub filters {
    complete_last('acme');

    my @all = shown('acme');
    my @wanted = grep { /"lockbox.request_id":"$id"/ } @all;

    cmp_ok(scalar @wanted, '>', 10, 'much of one request');
    is_deeply(page('customer', $AUDIT, request => $id, limit => 100)
                  ->{records},
              [ map { $json->decode($_) } @wanted ], '... and nothing else');
    is_deeply([ map { @$_ } all_pages('customer', $AUDIT, request => $id,
                                      limit => 3) ],
              [ map { $json->decode($_) } @wanted ], '... page by page');
    is_deeply(page('customer', $AUDIT,
                   request => Test::Lockbox::Conf::uuid7())->{records}, [],
              'nothing of a request that is not there');
    is_deeply(page('other-customer', $GLOBEX, request => $id)->{records}, [],
              'nor of another tenant\'s');

    # by when they got to the trail
    my @entries = reverse trail('acme');
    my @times = map { $_->{ms} } @entries;
    my ($until, $since) = @times[@times / 4, @times * 3 / 4];

    is_deeply([ map { @$_ } all_pages('customer', $AUDIT, limit => 4,
                                      since => rfc3339($since),
                                      until => rfc3339($until)) ],
              [ map { $json->decode($entries[$_]{record}) }
                grep { $times[$_] >= $since && $times[$_] < $until }
                0 .. $#times ], 'from a time, until before another one');
    is_deeply(page('customer', $AUDIT, since => rfc3339($until),
                   until => rfc3339($since))->{records}, [],
              'nothing between an end and a beginning');
    is_deeply(page('customer', $AUDIT, until => '1970-01-01T00:00:00Z')
                  ->{records}, [], 'nothing before all time');
}

# However much there is, a call has bounds.
sub short_pages {
    my $key = stream_key('acme');

    redis('XADD', $key, '*', records => '{"organization.id":"acme"}')
        for 1 .. 1200;

    my @pages = all_pages('customer', $AUDIT, request => $id, limit => 100);

    is(scalar @{ $pages[0] }, 0, 'a page may be empty, and not the last one');
    cmp_ok(scalar @pages, '<', 5, '... but it gets on');
    cmp_ok(scalar(map { @$_ } @pages), '>', 10, '... to what is wanted');

    redis('XADD', $key, '*', records => '{"organization.id":"acme","x":"'
                                       . 'x' x 300_000 . '"}') for 1 .. 8;
    is(scalar @{ page('customer', $AUDIT, limit => 5)->{records} }, 4,
       'and large records make short pages');

    my @ids = map { $_->[0] }
              grep { { @{ $_->[1] } }->{records} !~ /event\.id/ }
              @{ redis('XRANGE', $key, '-', '+') };
    redis('XDEL', $key, @ids);
}

sub complete_until {
    my $before = now();
    my $page;

    $t->wait_for(sub {
        $page = page('customer', $AUDIT, limit => 1);
        return $page->{complete_until} gt rfc3339($before);
    }, undef, 'the worker to catch up');

    like($page->{complete_until}, $TIME, 'up to when it is complete');
    cmp_ok($page->{complete_until}, 'le', rfc3339(now()), '... a past time');
    is_deeply($page->{silent}, [], 'nobody is missing');

    my $late = now() - 20_000;
    my $gone = now() - 40_000;

    redis('HSET', 'lockbox:workers', 'late', "7 $late", 'gone', "7 $gone",
          'odd', 'odd');
    $page = page('customer', $AUDIT, limit => 1);

    is($page->{complete_until}, rfc3339($late), 'the latest one counts');
    is_deeply($page->{silent},
              [ { worker => 'gone', since => rfc3339($gone) } ],
              '... except for those who are not heard of, who are named');
    redis('HDEL', 'lockbox:workers', qw(late gone odd));
}

# Whoever can write to Redis can keep a tenant from reading, no more.
sub forged {
    my $key = stream_key('acme');

    for my $record ('', 'text', '[]', '{}', '{"organization.id":"acme"',
                    '{"organization.id":"globex"}',
                    '{"organization.id":"acme"},{"a":"b"}',
                    '{"organization.id":"globex","organization.id":"acme"}',
                    qq({"organization.id":"acme","a":"\xff"}))
    {
        my $entry = redis('XADD', $key, '*', records => $record);

        is(outcome(ask('customer', 'GET', $AUDIT)), '503 store_unavailable',
           "no record: $record");
        redis('XDEL', $key, $entry);
        is(ask('customer', 'GET', $AUDIT)->status, 200, '... a passing one');
    }

    redis('XDEL', $key, redis('XADD', $key, '*', other => 'field'));
    redis('RENAME', $key, 'aside');
    redis('SET', $key, 'text');
    is(outcome(ask('customer', 'GET', $AUDIT)), '503 store_unavailable',
       'something else in its place');
    redis('DEL', $key);
    redis('RENAME', 'aside', $key);
}

sub gone {
    my $key = stream_key('globex');

    complete_last('globex');
    redis('DEL', $key);
    redis('XADD', $key, '1000-1', records => '{"organization.id":"globex"}');
    is_deeply(page('other-customer', $GLOBEX)->{records}, [],
              'what is older than the retention is not shown');

    $t->redis_stop;
    is(outcome(ask('customer', 'GET', $AUDIT)), '503 store_unavailable',
       'without Redis there is nothing to read');
}
