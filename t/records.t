#!/usr/bin/perl

# Why: whoever loads the audit log relies on conf/audit-record.schema.json.
# Records of every kind are held against it, and it against the records: what
# it names must occur, and what the sources can write must be named.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use JSON::PP ();
use List::Util qw(first sum0);
use POSIX qw(strftime);

use Lockbox::Jose qw(key);
use Test::Lockbox;
use Test::Lockbox::Schema;

my $TOP = abs_path(dirname(__FILE__) . '/..');

my $json = JSON::PP->new->utf8->allow_nonref;

sub slurp {
    my ($file) = @_;

    open my $fh, '<:raw', "$TOP/$file" or die "$file: $!\n";
    local $/;

    return <$fh>;
}


# The validator refuses.  Each line: a schema, what is valid, what is not.

for (
    [ '{"type": "string"}',             '"1"',             '1' ],
    [ '{"type": "integer"}',            '1',               '"1"' ],
    [ '{"type": "integer"}',            '-2',              '1.5' ],
    [ '{"type": "number"}',             '2',               'true' ],
    [ '{"type": "object"}',             '{}',              '[]' ],
    [ '{"type": "array"}',              '[]',              'null' ],
    [ '{"type": "null"}',               'null',            '""' ],
    [ '{"type": "boolean"}',            'false',           '0' ],
    [ '{"const": "a"}',                 '"a"',             '"b"' ],
    [ '{"const": 1}',                   '1',               '"1"' ],
    [ '{"enum": ["a", 1]}',             '1',               '"1"' ],
    [ '{"pattern": "^a$"}',             '"a"',             '"a\n"' ],
    [ '{"pattern": "^(a|b$)"}',         '"b"',             '"b\n"' ],
    [ '{"pattern": "a"}',               '1',               '"b"' ],
    [ '{"minLength": 2}',               '"ab"',            '"a"' ],
    [ '{"minimum": 1}',                 '1',               '0' ],
    [ '{"maximum": 1}',                 '"2"',             '2' ],
    [ '{"items": {"type": "string"}}',  '["a", "b"]',      '["a", 1]' ],
    [ '{"minItems": 1}',                '[1]',             '[]' ],
    [ '{"required": ["a", "b"]}',       '{"a": 1, "b": 1}', '{"a": 1}' ],
    [ '{"properties": {"a": false}}',   '{"b": 1}',        '{"a": 1}' ],
    [ '{"properties": {"a": true}, "additionalProperties": false}',
                                        '{"a": 1}',        '{"a": 1, "b": 1}' ],
    [ '{"allOf": [{"minimum": 1}, {"maximum": 2}]}', '2',  '3' ],
    [ '{"if": {"const": 1}, "then": false}', '2',          '1' ],
    [ '{"if": {"const": 1}, "else": false}', '1',          '2' ],
    [ '{"$ref": "#/$defs/a", "$defs": {"a": {"const": 1}}}', '1', '2' ],
) {
    my ($text, $valid, $invalid) = @$_;
    my $validator = Test::Lockbox::Schema->new($json->decode($text));

    is_deeply([ $validator->faults($json->decode($valid)) ], [],
              "$text takes $valid");
    isnt(scalar(my @faults = $validator->faults($json->decode($invalid))), 0,
         "but not $invalid");
}

for ('{"properties": {"a": {"oneOf": []}}}', '{"if": {"not": true}}',
     '{"$ref": "#/$defs/a"}', '{"items": {"$ref": "other.json"}}', '[]')
{
    ok(!eval { Test::Lockbox::Schema->new($json->decode($_)) },
       "there is no validator for $_");
}


# The schema and the sources

my $text = slurp('conf/audit-record.schema.json');
my $schema = $json->decode($text);
my $validator = Test::Lockbox::Schema->new($schema);

sub values_of {
    my ($name) = @_;

    return sort @{ $schema->{properties}{$name}{enum} };
}

sub lines {
    my (%seen) = map { $_ => 1 } @_;

    return join "\n", sort keys %seen;
}

# How many names an object and all that is in it have.
sub count_names {
    my ($value) = @_;

    my @inside = ref $value eq 'HASH' ? values %$value
               : ref $value eq 'ARRAY' ? @$value : ();

    return sum0(ref $value eq 'HASH' ? scalar @inside : 0,
                map { count_names($_) } @inside);
}

is(count_names($schema), scalar(() = $text =~ /"(?:[^"\\]|\\.)*"\s*:/g),
   'the schema has no name twice, one of which nobody would read');

my $audit_c = slurp('ngx_lockbox_module/ngx_http_lockbox_audit.c');

is(lines(keys %{ $schema->{properties} }),
   lines($audit_c =~ /_field_\w+\(&?fields,[^";]*"([^"]+)"/g),
   'the schema names the fields that are written');
is(lines(values_of('event.reason')),
   lines(slurp('ngx_lockbox_module/ngx_lockbox_decision.c')
         =~ /ngx_lockbox_row\([A-Z_]+, "(\w+)"/g),
   'and all decisions');

my @routes = slurp('admin/ngx_http_lockbox_admin_routes.c')
    =~ m{"v1/[^"]+",\s+ngx_string\("(\w+)"\)}g;

is(lines(values_of('event.action')),
   lines(@routes, qw(access call sweep lapsed expired)),
   'and all actions');


# A world in which everything goes on record

my $t = Test::Lockbox->new;

$t->redis;
$t->upstream(handler => sub {
    my ($request, $client) = @_;

    return Test::Lockbox::Upstream::echo($request)
        if $request->{uri} !~ m{/slow$};

    # it never comes to an end by itself
    print {$client} "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
                    'x' x 50000;
    $client->flush;
    sysread $client, my $byte, 1;

    return;
});
$t->write_conf(conf());
$t->run;

sub conf {
    my (@logs) = @_;

    return $t->conf(directives => {
        lockbox_approvals => 'manager=2 customer=1',
        lockbox_audit_log => [ '%%TESTDIR%%/audit.log', @logs ],
    }, server => <<'EOF_CONF');
        location ~ ^/tenants/(?<tenant>[^/]+)/(?<service>[^/]+)/(?:legal|gone|bare)/ {
            lockbox          on;
            lockbox_tenant   $tenant;
            lockbox_service  $service;
            proxy_pass       http://127.0.0.1:%%PORT_8081%%;

            location ~ /legal/ {
                lockbox_label     confidential secret;
                proxy_set_header  X-Request-Id $request_id;
                proxy_set_header  X-Event-Id   $lockbox_event_id;
                proxy_pass        http://127.0.0.1:%%PORT_8081%%;
            }

            location ~ /gone/ {
                return  410;
            }

            location ~ /bare/ {
                return  200  bare;
            }
        }

        location = /included {
            auth_request  /tenants/acme/mail/inbox;
            proxy_pass    http://127.0.0.1:%%PORT_8081%%/included;
        }
EOF_CONF
}

my $API = '/lockbox/v1/tenants/acme/requests';
my $POLICY = '/lockbox/v1/tenants/acme/policy';
my $MAIL = '/tenants/acme/mail/inbox';

my %PEOPLE = (
    engineer => [ 'engineer' ],
    manager  => [ 'manager' ],
    second   => [ 'manager', sub => 'max' ],
    both     => [ 'engineer', claims =>
                  { realm_access => { roles => ['managers'] } } ],
    customer => [ 'customer' ],
    auditor  => [ 'auditor' ],
    roleless => [ 'engineer', claims => { groups => [] } ],
);

my %token;

sub call {
    my ($who, $method, $uri, %options) = @_;

    $token{$who} //= $t->identity(@{ $PEOPLE{$who} });

    return $t->http($method, $uri, token => $token{$who}, %options);
}

sub knock {
    my ($grant, $method, $uri, %headers) = @_;

    return $t->http($method, $uri, headers => [
        $grant ? [ Authorization => "Bearer $grant" ] : (),
        map { [ $_, $headers{$_} ] } keys %headers,
    ]);
}

sub file {
    my $filed = call('engineer', 'POST', $API, json => {
        justification => 'The inbox of acme does not open.',
        reason => 'customer_initiated_support', duration => 600,
        access => [ { service => 'mail', methods => ['GET'],
                      paths => ['/tenants/acme/mail/'],
                      labels => ['confidential', 'secret'] } ],
    });

    return $filed->json->{id};
}

sub step {
    my ($who, $id, $name, %body) = @_;

    return call($who, 'POST', "$API/$id/$name",
                $name eq 'grant' ? () : (json => \%body));
}

sub approved {
    my $id = file();

    step('manager', $id, 'approve', version => 1);
    step('second', $id, 'approve', version => 2);
    step('customer', $id, 'approve', version => 3);

    return $id;
}

# As if the time of the request had come: the sweep will find it.
sub make_due {
    my ($id, $field) = @_;

    $t->redis_cmd('HSET', "lockbox:{acme}:request:$id", $field, 1000);
    $t->redis_cmd('ZADD', 'lockbox:deadlines', 1000, "acme:$id");
}


# What the sweep does takes some seconds, so it comes first

make_due(file(), 'answer_by');
make_due(approved(), 'expires_at');
$t->redis_cmd('ZADD', 'lockbox:deadlines', 1000,
              'acme:' . Test::Lockbox::Conf::uuid7());

# Workflow

my $own = call('both', 'POST', $API, json => {
    justification => 'This one is for myself.', duration => 600,
    reason => 'production_alert', access => [ { service => 'mail',
        methods => ['GET'], paths => ['/'] } ],
})->json->{id};

step('both', $own, 'approve', version => 1);

my $id = file();

step('roleless', $id, 'approve', version => 1);
step('auditor', $id, 'approve', version => 1);
step('customer', $id, 'approve', version => 1);
step('manager', $id, 'approve', version => 1);
step('manager', $id, 'approve', version => 2);
step('second', $id, 'deny', version => 2, comment => 'Not now.');

my $asked = file();
step('manager', $asked, 'ask', version => 1, comment => 'Which mailbox?');
step('engineer', $asked, 'answer', comment => 'The inbox.');
step('engineer', $asked, 'cancel');

my $revoked = approved();
my $grant = step('engineer', $revoked, 'grant')->json->{access_token};
my $completed = approved();
my $returned = step('engineer', $completed, 'grant')->json->{access_token};

call('customer', 'PUT', $POLICY, json => { version => 0, policy => {
    preapprovals => [ {
        name => 'triage',
        until => strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time + 3600)),
        access => [ { service => 'mail', methods => ['GET'],
                      paths => ['/tenants/acme/mail/'],
                      labels => ['confidential', 'secret'] } ],
    } ],
} }) for 1 .. 2;
call('manager', 'PUT', $POLICY, json => { version => 1, policy => {} });
call('roleless', 'GET', $POLICY);

my $given = file();
step('manager', $given, 'approve', version => 1);
step('second', $given, 'approve', version => 2);

call('engineer', 'POST', $API, body => '{',
     headers => { 'Content-Type' => 'application/json' });
call('engineer', 'POST', $API, json => {});
call('engineer', 'POST', $API, body => 'x',
     headers => { 'Content-Type' => 'text/plain' });
call('engineer', 'POST', $API, json => { a => 'x' x 70000 });
call('engineer', 'DELETE', $API);
call('engineer', 'GET', '/lockbox/nowhere');
call('engineer', 'GET', $_)
    for "$API?limit=none", '/lockbox/v1/events?limit=none';
call($_, 'GET', '/lockbox/v1/tenants/acme/audit')
    for qw(customer auditor engineer);
call('engineer', 'GET', "$API/" . Test::Lockbox::Conf::uuid7());
knock(undef, 'GET', '/lockbox/v1/whoami');
knock(undef, 'GET', '/lockbox/v1/jwks.json', Accept => '*/*');

# Access, let through

knock($grant, 'GET', $MAIL, 'User-Agent' => "evil\t\"\xff\xe2\x80\xae");
knock($grant, 'GET', '/tenants/acme/mail/legal/1');
knock($grant, 'GET', '/tenants/acme/mail/' . 'long/' x 400);
knock($grant, 'GET', '/included');

# and not

my $uuid = Test::Lockbox::Conf::uuid7();

my %REFUSED = (
    ambiguous_target => [ $grant, "$MAIL%5ca" ],
    override_header  => [ $grant, $MAIL, 'X-Original-URL' => '/' ],
    no_token         => [ undef, $MAIL ],
    malformed_token  => [ 'x.y', $MAIL ],
    unknown_key      => [ $t->grant(key => key('P-256', 'other')), $MAIL ],
    bad_signature    => [ $grant =~ s/.{8}\z/AAAAAAAA/r, $MAIL ],
    wrong_type       => [ $t->grant(header => { typ => 'JWT' }), $MAIL ],
    wrong_issuer     => [ $t->grant(iss => 'urn:other'), $MAIL ],
    wrong_audience   => [ $t->grant(aud => 'other'), $MAIL ],
    not_yet_valid    => [ $t->grant(claims => { nbf => time + 200 }), $MAIL ],
    expired          => [ $t->grant(iat => time - 600, live => 0), $MAIL ],
    too_long_lived   => [ $t->grant(life => 999999), $MAIL ],
    wrong_certificate => [ $t->grant(claims => {
                               cnf => { 'x5t#S256' => 'A' x 43 } }), $MAIL ],
    not_live         => [ $t->grant(live => 0), $MAIL ],
    wrong_tenant     => [ $grant, '/tenants/globex/mail/inbox' ],
    wrong_service    => [ $grant, '/tenants/acme/files/1' ],
    wrong_path       => [ $t->grant(access => [ { service => 'mail',
                              methods => ['GET'], paths => ['/other'] } ]),
                          $MAIL ],
    wrong_label      => [ $t->grant, '/tenants/acme/mail/legal/1' ],
    not_decided      => [ $grant, '/tenants/acme/mail/gone/1' ],
    internal_error   => [ $grant, '/tenants/acme/mail/bare/1' ],
);

for my $word (sort keys %REFUSED) {
    my ($token, $uri, %headers) = @{ $REFUSED{$word} };

    my $refusal = knock($token, 'GET', $uri, %headers);

    is($refusal->json->{code}, $word, $word) if $word ne 'not_decided';
}

knock($grant, 'DELETE', $MAIL);
knock($grant, 'GET', $MAIL, Upgrade => 'websocket');
knock($grant, 'GET', '/tenants/a%20strange%0Atenant/mail/1');
$t->http_raw("GET $MAIL HTTP/1.0\r\n\r\n");

step('customer', $revoked, 'revoke');
knock($grant, 'GET', $MAIL);
step('engineer', $completed, 'complete');
knock($returned, 'GET', $MAIL);

$t->wait_for(sub {
    my %seen = map { $_->{'event.action'} => 1 } $t->audit;
    return $seen{lapsed} && $seen{expired} && $seen{sweep};
}, undef, 'the sweep');

# A response under way, and then no grant

my $taken = Test::Lockbox::Conf::uuid7();
my $slow = $t->http_start('GET', '/tenants/acme/mail/slow',
                          token => $t->grant(id => $taken));

is($slow->head->status, 200, 'a response begins');
$t->redis_cmd('DEL', "lockbox:grant:{acme}:$taken");
$t->wait_for(sub { grep { $_->{'lockbox.cut'} } $t->audit }, undef,
             'the cut');
$slow->close;


# Redis away, and a second log that is full

my $waiting = $t->grant;

$t->redis_stop;
knock($waiting, 'GET', $MAIL);
call('engineer', 'GET', $_) for '/lockbox/v1/requests', "$API/$uuid";
$t->redis;
$t->write_conf(conf('/dev/full'));
$t->reload;
knock($t->grant, 'GET', $MAIL);
$t->stop;


# What is on record

my @records = $t->audit;
my @bad = grep { $validator->faults($_) } @records;

is(scalar @bad, 0, 'all records are as the schema says')
    or diag(map { $json->canonical->encode($_), "\n",
                  map { "  $_\n" } $validator->faults($_) } @bad);

sub occurring {
    my ($name) = @_;

    return lines(grep { defined } map { $_->{$name} } @records);
}

# nginx itself refuses two Authorization fields, the limit is out of reach here,
# and nobody is refused the public keys or the description.
my %never = map { $_ => 1 } qw(two_tokens too_many_requests jwks openapi);

for my $name (qw(event.reason event.action)) {
    is(occurring($name), lines(grep { !$never{$_} } values_of($name)),
       "each $name occurs");
}

is(occurring('event.outcome'), lines(values_of('event.outcome')),
   'each outcome');
is(lines(map { keys %$_ } @records),
   lines(keys %{ $schema->{properties} }), 'and each field');

# The one location whose tenant API is told both ids

my ($told) = grep { $_->{uri} eq '/tenants/acme/mail/legal/1' }
             $t->upstream_requests;
my %both = map { $_->{'event.type'} => $_ }
           grep { $_->{'event.id'} eq $told->{headers}{'x-event-id'} }
           @records;

is($both{start}{'url.path'}, '/tenants/acme/mail/legal/1',
   '$lockbox_event_id is the id of the intent');
is($both{end}{'event.outcome'}, 'success', 'and of the outcome');
is($both{end}{'http.request.id'}, $told->{headers}{'x-request-id'},
   'which has the $request_id, once nginx has made it');
is($both{start}{'http.request.id'}, undef, 'and not before');

my %ends = map { $_->{'event.id'} => 1 }
           grep { $_->{'event.type'} eq 'end' } @records;
my @open = grep { !$ends{ $_->{'event.id'} } } @records;

is(scalar @open, 0, 'every intent has its outcome');


# What is no record

my ($access) = grep { $_->{'event.type'} eq 'end'
                      && $_->{'event.reason'} eq 'allow'
                      && $_->{'event.action'} eq 'access' } @records;
my ($intent) = grep { $_->{'event.type'} eq 'start'
                      && $_->{'event.action'} eq 'approve' } @records;
my ($lapsed, $policy) = map {
    my $action = $_;
    first { $_->{'event.type'} eq 'end' && $_->{'event.reason'} eq 'allow'
            && $_->{'event.action'} eq $action } @records;
} qw(lapsed policy);

my @INVALID = (
    [ $access, 'authorization' => 'Bearer x' ],
    [ $access, '@timestamp' => '2026-01-01T00:00:00Z' ],
    [ $access, 'event.id' => 'one' ],
    [ $access, 'event.type' => 'middle' ],
    [ $access, 'event.type' => 'start' ],
    [ $access, 'event.reason' => 'because' ],
    [ $access, 'event.reason' => 'revoked' ],
    [ $access, 'event.outcome' => 'failure' ],
    [ $access, 'http.response.status_code' => '200' ],
    [ $access, 'http.response.bytes' => -1 ],
    [ $access, 'source.ip' => 'localhost' ],
    [ $access, 'lockbox.labels' => [] ],
    [ $access, 'organization.id' => 'a b' ],
    (map { [ $access, $_ => undef ] } qw(
        @timestamp event.type event.action event.id event.outcome event.reason
        user.id user.domain organization.id lockbox.request_id url.path
        http.request.method source.ip
        http.response.status_code)),
    [ $intent, 'event.outcome' => 'success' ],
    [ $intent, 'http.response.status_code' => 200 ],
    (map { [ $intent, $_ => undef ] } qw(
        user.id user.domain organization.id lockbox.request_id url.path)),
    [ $lapsed, 'user.id' => 'erin' ],
    [ $lapsed, 'url.path' => '/' ],
    [ $lapsed, 'lockbox.request_id' => undef ],
    (map { [ $policy, $_ => undef ] } qw(
        user.id user.domain organization.id lockbox.policy_version)),
);

for (@INVALID) {
    my ($record, $name, $value) = @$_;
    my %changed = (%$record, $name => $value);

    delete $changed{$name} unless defined $value;

    isnt(scalar(my @faults = $validator->faults(\%changed)), 0,
         "$record->{'event.type'} of $record->{'event.action'}: no record "
         . (defined $value ? "with $name " . $json->encode($value)
                           : "without $name"));
}

done_testing;
