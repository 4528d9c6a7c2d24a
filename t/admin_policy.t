#!/usr/bin/env perl

# Why: a customer says once and for all what is never to be, and must be able
# to rely on it: nobody else sets it, nobody changes it in Redis, and what it
# forbids is neither filed nor approved.

use strict;
use warnings;

use Lockbox::Jose qw(decode key thumbprint);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Policy;
use Test::Lockbox::Refusal;
use Test::Lockbox::Seals;

my $VENDOR = 'https://login.vendor.example';
my $CUSTOMERS = 'https://login.customers.example';
my $FOREIGN = key('P-256', 'foreign');

my %FILES = (service => 'files', methods => ['GET'], paths => ['/a'],
             labels => []);

my $t = Test::Lockbox->new;

begin($t);

no_policy_yet();
setting_it();
who_may();
what_it_may_say();
versions();
written_in_redis();
older_ones();
what_is_filed();
what_is_approved();
changed_meanwhile();
how_many();
manager_only();
stricter_operator();
other_tenants();

done_testing();


# A call that is refused, and on record; nothing changes.
sub refuses {
    my ($name, $outcome, $call, %also) = @_;

    records();
    my $before = contents();
    my $response = $call->();
    my ($word) = $outcome =~ /(\w+)$/;

    is(outcome($response), $outcome, $name);
    is($response->json->{member}, $also{member}, '... names the member')
        if $also{member};
    like($response->json->{detail}, $also{detail}, '... says why')
        if $also{detail};
    is_deeply([ record_words(records()) ],
              [ ($also{intended} ? "start $also{action}" : ()),
                "end $also{action} $word" ], '... is recorded')
        if $also{action};
    is_deeply(contents(), $before, '... and changes nothing');

    return $response;
}

sub no_policy_yet {
    my $view = policy_of()->json;

    is_deeply($view, {
        tenant => 'acme', version => 0, policy => {}, by => undef,
        at => undef, earlier => [],
        effective => { max_duration => 14400, approvals => 1 },
    }, 'a tenant that has set nothing');
}

sub setting_it {
    my $policy = {
        max_duration => 7200, approvals => 2, services => ['mail'],
        reasons => ['customer_initiated_support'],
        labels_never => ['secret'], preapprovals => [triage()],
    };
    my $login = { auth_time => time - 60, acr => 'urn:gold' };
    my $token = $t->identity('customer', claims => $login);
    my $events = 'lockbox:{acme}:events';

    records();

    my $response = $t->http('PUT', policy_uri(), token => $token,
                            json => { version => 0, policy => $policy });
    my $view = $response->json;
    my @records = records();
    my ($entry) = @{ redis('XREVRANGE', $events, '+', '-', 'COUNT', 1) };
    my %event = @{ $entry->[1] };

    is(outcome($response), '200 ok', 'the first');
    is($view->{version}, 1, '... is version 1');
    is_deeply($view->{policy}, $policy, '... as it was sent');
    is_deeply($view->{by}, { iss => $CUSTOMERS, sub => 'carl', %$login },
              '... by whom, and how they had logged in');
    like($view->{at}, qr/^\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z$/, '... and when');
    is_deeply($view->{effective}, { max_duration => 7200, approvals => 2 },
              '... and what it comes to');
    is_deeply($view->{earlier}, [], '... with nothing before');
    unlike($response->body, qr/seal|token_hash/, '... and no seal is shown');

    is_deeply([ record_words(@records) ],
              [ 'start policy', 'end policy allow' ], 'it is recorded');
    is_deeply([ map { $_->{'lockbox.policy_version'} } @records ], [ 1, 1 ],
              '... with its version');
    is_deeply({ map { $_ => $event{$_} } qw(event version iss sub) },
              { event => 'policy_changed', version => 1, iss => $CUSTOMERS,
                sub => 'carl' }, '... and announced');

    my $seal = decode(policy_record(1)->{seal});

    is($seal->{header}{typ}, 'lockbox-policy+jwt', 'it is sealed');
    is_deeply({ map { $_ => $seal->{payload}{$_} }
                    qw(tenant version policy_hash by_iss sub prev),
                    keys %$login },
              { tenant => 'acme', version => 1, by_iss => $CUSTOMERS,
                sub => 'carl', prev => undef, %$login,
                policy_hash => Test::Lockbox::Policy::hash_of($policy) },
              '... whose, what and by whom');

    is_deeply(policy_of($_)->json, $view, "$_ is shown it")
        for qw(customer second-customer manager auditor engineer);

    my $empty = set_policy();
    is_deeply($empty->{policy}, {}, 'it is replaced as a whole');
    is_deeply($empty->{effective}, { max_duration => 14400, approvals => 1 },
              '... by the operator\'s limits');
}

sub who_may {
    my %good = (version => 2, policy => { max_duration => 3600 });

    for my $who (qw(engineer manager engineer-manager former-engineer auditor))
    {
        refuses("set by $who (W14)", '403 forbidden_role',
                sub { put_policy($who, @good{qw(version policy)}) },
                action => 'policy');
        is(outcome(policy_of($who)), '200 ok', '... who may see it');
    }

    for my $who (qw(other-customer roleless false-customer false-manager)) {
        refuses("set by $who (W11 W14)", '404 not_found',
                sub { put_policy($who, @good{qw(version policy)}) },
                action => 'policy');
        my $response = refuses("seen by $who", '404 not_found',
                               sub { policy_of($who) },
                               action => 'show_policy');
        is($response->body,
           ask($who, 'GET', uri(Test::Lockbox::Conf::uuid7()))->body,
           '... in the words for what is not there');
    }

    refuses('set by nobody', '401 no_token',
            sub { put_policy('nobody', @good{qw(version policy)}) },
            action => 'policy');
    refuses('seen by nobody', '401 no_token', sub { policy_of('nobody') },
            action => 'show_policy');

    is(outcome(put_policy('second-customer', @good{qw(version policy)})),
       '200 ok', 'another one of the customer may');
    is(policy_of()->json->{by}{sub}, 'cora', '... and is named');

    for my $method (qw(POST DELETE PATCH)) {
        my $response = ask('customer', $method, policy_uri(),
                           json => { version => 3, policy => {} });

        is(outcome($response), '405 method_not_allowed', "$method");
        is($response->header('Allow'), 'GET, HEAD, PUT', '... is not there');
    }
}

sub what_it_may_say {
    no_policy();

    my %item = %{ filing()->{access}[0] };
    my @wrong = (
        [ '/version', { policy => {} } ],
        [ '/version', { version => -1, policy => {} } ],
        [ '/version', { version => '0', policy => {} } ],
        [ '/version', { version => 0.5, policy => {} } ],
        [ '/policy', { version => 0 } ],
        [ '/policy', { version => 0, policy => [] } ],
        [ '/policy', { version => 0, policy => undef } ],
        [ '/comment', { version => 0, policy => {}, comment => 'x' } ],
        [ '/tenant', { version => 0, policy => {}, tenant => 'globex' } ],
        map({ [ "/policy$_->[0]", { version => 0, policy => $_->[1] } ] }
            [ '/colour', { colour => 1 } ],
            [ '/max_duration', { max_duration => 59 } ],
            [ '/max_duration', { max_duration => 14401 } ],
            [ '/approvals', { approvals => 0 } ],
            [ '/approvals', { approvals => 10 } ],
            [ '/services', { services => [] } ],
            [ '/services/0', { services => ['Mail'] } ],
            [ '/reasons/1', { reasons => ['production_alert', 'x'] } ],
            [ '/labels_never/0', { labels_never => ["a\x{202e}"] } ],
            [ '/preapprovals/0/until', { preapprovals => [
                triage(until => time_in(-1)) ] } ],
            [ '/preapprovals/0/until', { preapprovals => [
                triage(until => time_in(90 * $DAY + 60)) ] } ],
            [ '/preapprovals/0/access/0/paths/0', { preapprovals => [
                triage(item => { paths => ['/'] }) ] } ],
            [ '/preapprovals/0/access/0/methods/1', { preapprovals => [
                triage(item => { methods => ['GET', 'UPGRADE'] }) ] } ],
            [ '/preapprovals/1/name', { preapprovals => [triage(), triage()] } ]
        ),
    );

    for (@wrong) {
        my ($member, $body) = @$_;

        refuses("wrong: $member", '400 invalid_member',
                sub { ask('customer', 'PUT', policy_uri(), json => $body) },
                action => 'policy', member => $member);
    }

    for ([ '{"version":0,"policy":{},"policy":{}}', '/policy' ],
         [ '{"version":0,"policy":{"preapprovals":[{"id":"a"},'
           . '{"id":"b","id":"c"}]}}', '/policy/preapprovals/1/id' ],
         [ '[]' ], [ '' ], [ '{' ])
    {
        my ($body, $member) = @$_;
        my $response = refuses("'$body' (W26)", '400 invalid_json', sub {
            ask('customer', 'PUT', policy_uri(), body => $body,
                headers => { 'Content-Type' => 'application/json' });
        }, action => 'policy');

        is($response->json->{member}, $member, '... names what is twice');
    }

    refuses('no JSON', '415 unsupported_media_type', sub {
        ask('customer', 'PUT', policy_uri(), body => '{}',
            headers => { 'Content-Type' => 'text/plain' });
    });
    refuses('too much', '413 too_large', sub {
        put_policy('customer', 0, { services => ['x' x 70000] });
    });

    is(outcome(put_policy('customer', 0, { max_duration => 14400,
        approvals => 9, preapprovals => [
            triage(until => time_in(90 * $DAY - 60)) ] })),
       '200 ok', 'as much as there may be');
}

sub versions {
    no_policy();

    is(outcome(put_policy('customer', 0, { max_duration => 60 * $_ })),
       $_ == 1 ? '200 ok' : '409 conflict', "version 0 replaced, $_")
        for 1, 2;

    my $conflict = refuses('a version that is not there yet', '409 conflict',
                           sub { put_policy('customer', 2, {}) },
                           action => 'policy');

    is($conflict->json->{version}, 1, '... and which one is');
    ok(!exists $conflict->json->{state}, '... for a policy has no state');

    set_policy(max_duration => 60 * $_) for 2 .. 20;

    my $view = policy_of()->json;

    is($view->{version}, 20, 'many versions');
    is_deeply([ map { $_->{version} } @{ $view->{earlier} } ],
              [ reverse 5 .. 19 ], '... of which sixteen are kept');
    is_deeply([ map { $_->{policy}{max_duration} } @{ $view->{earlier} } ],
              [ map { 60 * $_ } reverse 5 .. 19 ], '... as they were');
    is_deeply([ sort { $a <=> $b } map { /(\d+)/ } grep { /^policy/ }
                keys %{ { @{ redis('HGETALL', policy_key()) } } } ],
              [ 0 .. 15 ], '... and no more');

    # whoever changes the past cuts it off
    my $record = policy_record(17);
    $record->{policy}{max_duration} = 61;
    redis('HSET', policy_key(), 'policy:1',
          JSON::PP->new->utf8->encode($record));
    is_deeply([ map { $_->{version} } @{ policy_of()->json->{earlier} } ],
              [ 19, 18 ], 'what was changed is not shown, nor what is behind');
}

# What a worker finds wrong closes the tenant, and only that.
sub closed {
    my ($name, $spoil) = @_;

    no_policy();
    set_policy(max_duration => 3600);

    my $live = approved();
    my ($one, $two) = (file(), file());
    my $half = file();
    approve('manager', $half);

    my $saved = save_all();
    $spoil->(policy_record(1));

    my %calls = (
        request => sub { ask('engineer', 'POST', $REQUESTS,
                             json => filing()) },
        approve => sub { act('manager', 'approve', $one, { version => 1 }) },
        show_policy => sub { policy_of() },
    );

    for my $action (sort keys %calls) {
        my $logged = length $t->read_file('error.log');

        refuses("$name: $action", '503 internal_error', $calls{$action},
                action => $action);
        like(substr($t->read_file('error.log'), $logged),
             qr/\[error\].*the stored policy of the tenant "acme" is not what/,
             '... and is in the error log');
    }

    is(outcome(act('customer', 'approve', $half, { version => 2 })),
       '503 internal_error', '... nor for the customer');
    is(outcome(act('engineer', 'grant', $live)), '200 ok',
       '... what is approved stays so');
    is(outcome(act('customer', 'deny', $half, { version => 2 })), '200 ok',
       '... and all can be denied');
    is(outcome(act('engineer', 'cancel', $two)), '200 ok', '... withdrawn');
    is(outcome(act('customer', 'revoke', $live)), '200 ok', '... or ended');
    is(outcome(put_policy('customer', 1, { max_duration => 3600 })), '200 ok',
       '... the customer sets it again');
    is(outcome(act('manager', 'approve', $one, { version => 1 })), '200 ok',
       '... and it goes on');

    load_all($saved);
    ok(file(), '... but for that');
}

sub written_in_redis {
    my $set = sub {
        my ($work) = @_;
        return sub {
            my ($record) = @_;
            $work->($record);
            put_record(1, $record);
        };
    };
    my %claims = (
        'for another tenant' => { tenant => 'globex' },
        'for another version' => { version => 2 },
        'for no version' => { version => undef },
        'over another text' => { policy_hash => access_hash() },
        'by another' => { sub => 'cora' },
        'by another issuer' => { by_iss => $VENDOR },
        'by no token' => { token_hash => undef },
        'of another proxy' => { iss => 'https://else.example' },
        'for the tenant API' => { aud => 'tenant-api' },
        'that has expired' => { exp => time - 1 },
        'from the future' => { iat => time + 3600 },
        'without a time' => { at => undef },
    );

    closed("a seal $_", do {
        my $claims = $claims{$_};
        $set->(sub { $_[0]{seal} = policy_seal($_[0], $claims) });
    }) for sort keys %claims;

    my %keys = (
        'by a foreign key' => { key => $FOREIGN },
        'by a foreign key with our name' => {
            key => $FOREIGN,
            kid => thumbprint(Test::Lockbox::Conf::signing_key()) },
        'of the type of requests' => { typ => 'lockbox-seal+jwt' },
        'of the type of grants' => { typ => 'lockbox-grant+jwt' },
    );

    closed("a seal $_", do {
        my %how = %{ $keys{$_} };
        $set->(sub { $_[0]{seal} = policy_seal($_[0], {}, %how) });
    }) for sort keys %keys;

    closed('a longer window', $set->(sub {
        $_[0]{policy}{max_duration} = 14400 }));
    closed('nothing left of it', $set->(sub { $_[0]{policy} = {} }));
    closed('no policy in it', $set->(sub { delete $_[0]{policy} }));
    closed('another author', $set->(sub { $_[0]{by}{sub} = 'cora' }));
    closed('no seal', $set->(sub { delete $_[0]{seal} }));
    closed('a record that is none', sub {
        redis('HSET', policy_key(), 'policy:1', '[1]') });
    closed('a record that is gone', sub {
        redis('HDEL', policy_key(), 'policy:1') });

    # a version of which nothing is there, and which nobody can replace
    no_policy();
    redis('HSET', policy_key(), version => 'x');
    is(outcome(policy_of()), '503 internal_error', 'a version that is none');
    is(outcome(put_policy('customer', 1, {})), '503 internal_error',
       '... which nobody replaces');

    # that of another tenant
    no_policy();
    set_policy(max_duration => 3600);
    is(outcome(put_policy('other-customer', 0, {}, 'globex')), '200 ok',
       'globex sets its own');
    put_record(1, policy_record(1, 'globex'));
    is(outcome(policy_of()), '503 internal_error', '... which is not acme\'s');
}

# In the middle of a request nobody goes back.
sub older_ones {
    no_policy();
    set_policy();
    my $first = policy_record(1);
    set_policy(labels_never => ['secret']);

    my $id = file();
    my $saved = save_all();
    my %back = (
        'an older policy' => sub { put_record(1, $first) },
        'no policy' => sub { no_policy() },
        'another one of that version' => sub {
            my $seal = policy_seal($first, { version => 2 });
            put_record(2, { %$first, seal => $seal });
        },
    );

    for my $name (sort keys %back) {
        load_all($saved);
        $back{$name}->();

        my $logged = length $t->read_file('error.log');
        refuses("$name in the middle of a request", '503 internal_error',
                sub { act('manager', 'approve', $id, { version => 1 }) },
                action => 'approve');
        like(substr($t->read_file('error.log'), $logged),
             qr/\[error\].*older than the one that the request/,
             '... is in the error log');
    }

    load_all($saved);
    is(outcome(act('manager', 'approve', $id, { version => 1 })), '200 ok',
       '... but for that');

    no_policy();
    is(outcome(act('customer', 'deny', $id, { version => 2 })), '200 ok',
       '... and to deny needs none');
}

my %STRICT = (
    max_duration => 1800, services => ['mail'], labels_never => ['secret'],
    reasons => ['customer_initiated_support', 'production_alert'],
);

# What a request wants, the member that is too much, and what is not.
my @BEYOND = (
    [ { duration => 1801 }, '/duration', { duration => 1800 } ],
    [ { reason => 'vendor_initiated_review' }, '/reason',
      { reason => 'production_alert' } ],
    [ { access => [ \%FILES ] }, '/access/0/service',
      { access => [ { %FILES, service => 'mail' } ] } ],
    [ { access => [ { %FILES, service => 'mail' }, \%FILES ] },
      '/access/1/service', { access => [ { %FILES, service => 'mail' } ] } ],
    [ { access => [ { %FILES, service => 'mail',
                      labels => ['confidential', 'secret'] } ] },
      '/access/0/labels/1',
      { access => [ { %FILES, service => 'mail',
                      labels => ['confidential'] } ] } ],
);

sub what_is_filed {
    no_policy();

    for (@BEYOND) {
        ok(file(duration => 1800, %{ $_->[0] }), 'without a policy');
    }

    set_policy(%STRICT);

    for (@BEYOND) {
        my ($beyond, $member, $within) = @$_;

        refuses("filed: $member", '400 invalid_member', sub {
            ask('engineer', 'POST', $REQUESTS,
                json => filing(duration => 1800, %$beyond));
        }, action => 'request', member => $member,
           detail => qr/tenant's policy/);
        ok(file(duration => 1800, %$within), '... but for that');
    }
}

sub what_is_approved {
    for my $who (qw(manager customer)) {
        for (@BEYOND) {
            my ($beyond, $member, $within) = @$_;

            no_policy();
            my $id = file(duration => 1800, %$beyond);
            approve('manager', $id) if $who eq 'customer';
            set_policy(%STRICT);

            my $version = stored($id)->{version} + 0;

            refuses("approved by $who: $member", '400 invalid_member', sub {
                act($who, 'approve', $id, { version => $version });
            }, action => 'approve', member => $member,
               detail => qr/tenant's policy/);

            if ($member eq '/reason') {
                is(outcome(act($who, 'deny', $id, { version => $version })),
                   '200 ok', '... and can only be denied');
                next;
            }

            is(outcome(act($who, 'approve', $id,
                           { version => $version, %$within })),
               '200 ok', '... unless it is narrowed');
        }
    }

    # what was approved before is not touched
    no_policy();
    my $id = approved();
    set_policy(%STRICT, services => ['files']);
    is(outcome(knock(collect($id))), '200 ok', 'what is approved is approved');
}

# The step goes by the policy that Redis has at that moment.
sub changed_meanwhile {
    no_policy();
    set_policy();

    my $id = file();
    my $seal = decode((seals_of($id))[0])->{payload};

    is($seal->{policy_version}, 1, 'a filing says which policy it went by');
    is($seal->{policy_hash}, Test::Lockbox::Policy::hash_of({}),
       '... and what that said');

    set_policy(max_duration => 14400);
    approve('manager', $id);

    is_deeply([ map { decode($_)->{payload}{policy_version} } seals_of($id) ],
              [ 1, 2 ], 'and so does each approval');

    set_policy();
    took('customer', 'deny', $id, version => 2);
    is(decode((seals_of($id))[2])->{payload}{policy_version}, 2,
       'a denial says what was said before');
}

sub how_many {
    no_policy();
    set_policy(approvals => 2);

    my $id = file();
    approve('manager', $id);

    is(approve('customer', $id)->{state}, 'awaiting_customer',
       'one of two customers');
    is(outcome(act('customer', 'approve', $id, { version => 3 })),
       '403 same_person', '... who does not count twice (W07)');

    my $saved = save_all();

    redis('HSET', request_key($id), state => 'approved',
          approved_at => now(), expires_at => now() + 3_600_000);
    redis('SET', live_key($id), 'live', 'PX', 3_600_000);
    is(outcome(act('engineer', 'grant', $id)), '503 internal_error',
       '... nor does Redis');
    no_policy();
    is(outcome(act('engineer', 'grant', $id)), '503 internal_error',
       '... not even without the policy');

    load_all($saved);
    is(approve('second-customer', $id)->{state}, 'approved', 'both');
    is(outcome(knock(collect($id))), '200 ok', '... are enough');

    # by the policy of the last approval
    my $other = file();
    approve($_, $other) for qw(manager customer);
    set_policy();
    is(approve('second-customer', $other)->{state}, 'approved',
       'where one is enough by now');
    is(outcome(knock(collect($other))), '200 ok', '... it is');

    my $third = approved();
    set_policy(approvals => 3);
    is(outcome(knock(collect($third))), '200 ok',
       'what was approved by one stays approved');
}

# The operator's list needs no customer, until one asks to be heard.
sub manager_only {
    change_conf(directives => { lockbox_manager_only => 'acme' });
    no_policy();

    is(policy_of()->json->{effective}{approvals}, 0, 'nobody has to approve');

    set_policy(max_duration => 7200);
    my $id = file();
    is(approve('manager', $id)->{state}, 'approved', 'the manager alone');
    ok(collect($id), '... is enough');

    set_policy(approvals => 1);
    $id = file();
    is(approve('manager', $id)->{state}, 'awaiting_customer',
       'the customer wants to be heard');
    is(approve('customer', $id)->{state}, 'approved', '... and is');
    is(outcome(knock(collect($id))), '200 ok', '... and it is good');

    # who is taken the voice closes the door
    change_conf(directives => { lockbox_manager_only => 'acme' },
                issuers => <<"EOF_ISSUERS");
lockbox_issuer $VENDOR {
    keys      %%TESTDIR%%/vendor.jwks.json;
    audience  lockbox;
    role      engineer  groups=support-engineers;
    role      manager   /realm_access/roles=managers;
}
EOF_ISSUERS

    refuses('a customer whom nobody can speak for', '404 not_found',
            sub { ask('engineer', 'POST', $REQUESTS, json => filing()) },
            action => 'request', detail => qr/No identity provider/);

    change_conf();
}

# What nginx.conf forbids later is forbidden.
sub stricter_operator {
    no_policy();
    set_policy(max_duration => 7200, approvals => 1);

    my $id = file(duration => 7200);

    change_conf(directives => { lockbox_max_duration => '1h',
                                lockbox_approvals => 'customer=2' });

    my $view = policy_of()->json;

    is_deeply($view->{effective}, { max_duration => 3600, approvals => 2 },
              'the stricter one wins');
    is($view->{policy}{max_duration}, 7200, '... and what was set is shown');

    refuses('a longer window than there may be by now', '400 invalid_member',
            sub { act('manager', 'approve', $id, { version => 1 }) },
            action => 'approve', member => '/duration');
    is(outcome(act('manager', 'approve', $id,
                   { version => 1, duration => 3600 })),
       '200 ok', '... unless it is narrowed');
    is(approve('customer', $id)->{state}, 'awaiting_customer',
       '... and two have to approve');

    refuses('less than the operator requires', '400 invalid_member',
            sub { put_policy('customer', 1, { approvals => 1 }) },
            action => 'policy', member => '/policy/approvals');
    refuses('longer than the operator allows', '400 invalid_member',
            sub { put_policy('customer', 1, { max_duration => 3601 }) },
            action => 'policy', member => '/policy/max_duration');
    is(outcome(put_policy('customer', 1, { approvals => 2,
                                           max_duration => 3600 })),
       '200 ok', '... but as much as that');

    change_conf();
}

sub other_tenants {
    no_policy();
    set_policy(services => ['files']);

    is(outcome(ask('engineer', 'POST', $REQUESTS, json => filing())),
       '400 invalid_member', 'acme\'s policy holds for acme');
    ok(file(tenant => 'initech'), '... and for nobody else');
}
