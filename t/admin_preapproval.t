#!/usr/bin/env perl

# Why: what is approved beforehand opens a door that nobody stands at.  It is
# to open for exactly that, in its author's name, and for nobody who has a part
# in it; all else waits for the customer as ever.

use strict;
use warnings;

use JSON::PP ();

use Lockbox::Jose qw(decode jwks key);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Policy;
use Test::Lockbox::Seals;

my $VENDOR = 'https://login.vendor.example';
my $CUSTOMERS = 'https://login.customers.example';

my $t = Test::Lockbox->new;

begin($t);

stands_in();
exactly_that();
only_what_is_left();
the_policy_wins();
its_end();
several();
whose();
who_speaks();
no_customer_needed();
seals();
redis_alone();
an_extension();

done_testing();


# Files, and approves as the manager; the request after that.
sub passed {
    my ($filed, %narrowed) = @_;

    return approve('manager', file(%$filed), %narrowed);
}

sub waits {
    my ($filed, $name, %narrowed) = @_;

    my $view = passed($filed, %narrowed);

    is($view->{state}, 'awaiting_customer', $name);
    is(scalar @{ $view->{decisions} }, 1, '... and nobody has stood in');
    is(redis('EXISTS', live_key($view->{id})), 0, '... nor is it live');
    is(approve('customer', $view->{id})->{state}, 'approved',
       '... until the customer comes');

    return $view->{id};
}

sub opens {
    my ($filed, $name, %narrowed) = @_;

    my $view = passed($filed, %narrowed);

    is($view->{state}, 'approved', $name);
    is(($view->{decisions}[1] // {})->{preapproval}, 'triage',
       '... by what was approved beforehand');

    return $view->{id};
}


sub stands_in {
    my $login = { auth_time => time - 60, acr => 'urn:gold' };
    my $token = $t->identity('customer', claims => $login);

    $t->http('PUT', policy_uri(), token => $token, json => {
        version => 0, policy => { preapprovals => [triage()] } });

    my $id = file();
    records();
    my $view = approve('manager', $id, comment => 'Go.');
    my @records = records();

    is($view->{state}, 'approved', 'the manager\'s approval is the last');
    is($view->{version}, 3, '... of two');

    my ($manager, $customer) = @{ $view->{decisions} };

    is_deeply({ map { $_ => $manager->{$_} } qw(stage decision comment) },
              { stage => 'manager', decision => 'approve', comment => 'Go.' },
              '... the manager\'s');
    is_deeply({ map { $_ => $customer->{$_} }
                    qw(stage decision by preapproval policy_version comment) },
              { stage => 'customer', decision => 'approve',
                by => { iss => $CUSTOMERS, sub => 'carl', %$login },
                preapproval => 'triage', policy_version => 1,
                comment => undef },
              '... and the customer\'s, who says so himself');
    is($customer->{at}, $manager->{at}, '... at that moment');
    is($view->{approved_at}, $manager->{at}, '... when the window begins');

    is_deeply([ record_words(@records) ],
              [ 'start approve', 'end approve allow' ], 'it is recorded');
    is_deeply({ map { $_ => $records[1]{$_} }
                    qw(lockbox.manager lockbox.customer lockbox.preapproval
                       lockbox.policy_version user.id) },
              { 'lockbox.manager' => "$VENDOR mona",
                'lockbox.customer' => "$CUSTOMERS carl",
                'lockbox.preapproval' => 'triage',
                'lockbox.policy_version' => 1, 'user.id' => 'mona' },
              '... who gave what');
    ok(!exists $records[0]{'lockbox.preapproval'},
       '... once it has happened');

    my @events = map { { @{ $_->[1] } } }
                     reverse @{ redis('XREVRANGE', 'lockbox:{acme}:events',
                                      '+', '-', 'COUNT', 2) };
    is_deeply([ map { join ' ', @$_{qw(event state version sub)},
                                $_->{preapproval} // () } @events ],
              [ 'approved awaiting_customer 2 mona',
                'approved approved 3 carl triage' ], 'and announced as both');

    is(outcome(knock(collect($id))), '200 ok', 'the grant is good');

    my @collected = records();
    is_deeply([ map { $_->{'lockbox.preapproval'} }
                grep { $_->{'event.action'} eq 'collect' } @collected ],
              [ 'triage', 'triage' ], '... and recorded as what it is');

    is_deeply(act('customer', 'show', $id)->json->{actions}, ['revoke'],
              'the customer may end it');
    is(outcome(act('customer', 'revoke', $id)), '200 ok', '... and does');

    # a denial is one
    $id = file();
    is(took('manager', 'deny', $id, version => 1)->{state}, 'denied',
       'the manager may still say no');
    $id = file();
    is(outcome(act('customer', 'approve', $id, { version => 1 })),
       '409 conflict', 'and comes first');
}

# What is filed, one thing too much and one thing less.
sub exactly_that {
    no_policy();
    set_policy(preapprovals => [ triage(
        max_duration => 1800, reasons => ['production_alert'],
        access => [
            { service => 'mail', methods => ['GET', 'POST'],
              paths => ['/tenants/acme/mail/', '/tenants/acme/cal'],
              labels => ['confidential'] },
            { service => 'files', methods => ['GET'], paths => ['/a'],
              labels => [] },
        ]) ]);

    my %good = (
        duration => 1800, reason => 'production_alert',
        access => [ { service => 'mail', methods => ['GET'],
                      paths => ['/tenants/acme/mail/inbox'],
                      labels => [] } ],
    );
    my $item = sub {
        return { %good, access => [ { %{ $good{access}[0] }, @_ } ] };
    };
    my $files = { service => 'files', methods => ['GET'], paths => ['/a/b'],
                  labels => [] };

    my @cases = (
        [ 'a second', { %good, duration => 1801 }, \%good ],
        [ 'a reason', { %good, reason => 'vendor_initiated_review' },
          \%good ],
        [ 'a service', $item->(service => 'crm'), $item->() ],
        [ 'a method', $item->(methods => ['GET', 'PUT']),
          $item->(methods => ['POST', 'GET']) ],
        [ 'a path', $item->(paths => ['/tenants/acme/mail/', '/tenants/']),
          $item->(paths => ['/tenants/acme/mail/', '/tenants/acme/cal/1']) ],
        [ 'a part of a path', $item->(paths => ['/tenants/acme/mail']),
          $item->(paths => ['/tenants/acme/mail/']) ],
        [ 'a name that goes on', $item->(paths => ['/tenants/acme/calendar']),
          $item->(paths => ['/tenants/acme/cal']) ],
        [ 'a label', $item->(labels => ['confidential', 'secret']),
          $item->(labels => ['confidential']) ],
        [ 'an item', { %good, access => [ $good{access}[0], $files,
                                          { %$files, paths => ['/b'] } ] },
          { %good, access => [ $good{access}[0], $files ] } ],
        [ 'a label of another item', { %good, access => [
              { %$files, labels => ['confidential'] } ] },
          { %good, access => [$files] } ],
    );

    for (@cases) {
        my ($name, $much, $right) = @$_;

        waits($much, "$name too much");
        opens($right, "... but for $name");
    }
}

# The manager may cut a request down to it: what stands then counts.
sub only_what_is_left {
    no_policy();
    set_policy(preapprovals => [ triage(max_duration => 600) ]);

    my $wide = { access => [ { %{ filing()->{access}[0] },
                               paths => ['/tenants/'] } ] };

    waits({}, 'too long');
    opens({}, 'cut down to it', duration => 600);
    waits({}, 'cut down, not enough', duration => 601);

    my $id = opens($wide, 'its paths, too', duration => 600,
                   access => filing()->{access});
    my $grant = decode(collect($id))->{payload};

    is($grant->{exp} - $grant->{nbf}, 600, 'the grant is for that time');
    is_deeply($grant->{authorization_details}[0]{paths},
              filing()->{access}[0]{paths}, '... and these paths');
}

sub the_policy_wins {
    my $secret = { item => { labels => ['secret'] } };
    my %filed = (access => triage(%$secret)->{access});

    no_policy();
    my $id = file(%filed);
    my $open = file(%filed);
    set_policy(preapprovals => [ triage(%$secret) ],
               labels_never => ['secret']);

    is(outcome(act('manager', 'approve', $id, { version => 1 })),
       '400 invalid_member',
       'what is never granted is not, though preapproved');
    set_policy(preapprovals => [ triage(%$secret) ]);
    is(approve('manager', $open)->{state}, 'approved', '... but for that');

    set_policy(preapprovals => [triage()], services => ['files']);
    is(outcome(ask('engineer', 'POST', $REQUESTS, json => filing())),
       '400 invalid_member', 'nor a service that is not allowed');

    # what is taken back is gone
    set_policy(preapprovals => [triage()]);
    $id = file();
    set_policy();
    is(approve('manager', $id)->{state}, 'awaiting_customer',
       'what is taken back counts no more');

    # what is given later counts for what is open
    $id = file();
    set_policy(preapprovals => [triage()]);
    is(approve('manager', $id)->{state}, 'approved',
       'what is given meanwhile counts');

    # but only at the manager's approval
    set_policy();
    $id = file();
    approve('manager', $id);
    set_policy(preapprovals => [triage()]);
    is(act('manager', 'show', $id)->json->{state}, 'awaiting_customer',
       'what waits for the customer waits');
}

# It opens nothing that lasts longer than itself.
sub its_end {
    no_policy();
    # all of the window lies before it
    set_policy(preapprovals => [ triage(until => time_in(1800)) ]);

    opens({ duration => 1200 }, 'before its end');
    waits({ duration => 2400 }, 'up to behind its end');
    opens({ duration => 2400 }, '... but cut down', duration => 1200);

    no_policy();
    set_policy(preapprovals => [ triage(until => time_in(3)) ]);

    waits({ duration => 60 }, 'shortly before its end');
    $t->wait_for(sub { time >= seconds_of(policy_of()) }, 15, 'its end');
    waits({}, 'from its end on');

    # what was granted by it goes on
    is(outcome(ask('customer', 'PUT', policy_uri(), json => {
           version => 1, policy => policy_of()->json->{policy} })),
       '400 invalid_member', 'and what is over is not set again');
}

sub seconds_of {
    my ($response) = @_;

    my $until = $response->json->{policy}{preapprovals}[0]{until};
    my @parts = $until =~ /(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)Z/;

    require Time::Local;

    return Time::Local::timegm(@parts[5, 4, 3, 2], $parts[1] - 1, $parts[0]);
}

# It is one approval, behind all of the managers'.
sub several {
    change_conf(directives => { lockbox_approvals => 'manager=2 customer=2' });
    no_policy();
    set_policy(preapprovals => [ triage(until => time_in(3 * $DAY)) ]);

    my $id = file();
    my $view = approve('manager', $id);

    is($view->{state}, 'awaiting_manager', 'one of two managers');
    is(scalar @{ $view->{decisions} }, 1, '... and nobody else yet');

    $view = approve('second-manager', $id);

    is($view->{state}, 'awaiting_customer', 'both, and one of two customers');
    is($view->{decisions}[2]{preapproval}, 'triage', '... who gave it before');
    is(outcome(act('customer', 'approve', $id, { version => 4 })),
       '403 same_person', '... and does not count twice');
    is(approve('second-customer', $id)->{state}, 'approved', 'and the other');
    is(outcome(knock(collect($id))), '200 ok', '... and it is good');

    # by the tenant's own policy
    change_conf();
    no_policy();
    set_policy(preapprovals => [ triage(until => time_in(3 * $DAY)) ],
               approvals => 2);
    $id = file();
    is(approve('manager', $id)->{state}, 'awaiting_customer',
       'where the tenant wants two');
    is(approve('second-customer', $id)->{state}, 'approved',
       '... another one of them');

    # who may come as late as that: then the window must not go on behind it
    for my $case ([ 3599, 1, 'where the other one may come too late' ],
                  [ 3600, 2, '... but for that' ])
    {
        my ($seconds, $decisions, $name) = @$case;

        $id = file();
        my $last = int(stored($id)->{lapses_at} / 1000);

        set_policy(preapprovals => [ triage(until => time_at($last
                                                             + $seconds)) ],
                   approvals => 2);
        $view = approve('manager', $id);
        is($view->{state}, 'awaiting_customer', $name);
        is(scalar @{ $view->{decisions} }, $decisions,
           '... nobody stands in or somebody does');
    }

    redis('HDEL', request_key($id), 'lapses_at');
    is(outcome(act('customer', 'approve', $id, { version => 3 })),
       '503 internal_error', 'a request that never lapses is none');
}

# Whoever sets a policy answers for all that is in it.
sub whose {
    no_policy();
    put_policy('customer', 0, { preapprovals => [triage()] });
    put_policy('second-customer', 1, { preapprovals => [triage()] });

    my $view = passed({});

    is_deeply($view->{decisions}[1]{by}, { iss => $CUSTOMERS, sub => 'cora' },
              'the author is who set what is in force');

    # another tenant's opens nothing here
    no_policy();
    put_policy('other-customer', 0, { preapprovals => [triage()] }, 'globex');
    waits({}, 'another tenant\'s');

    my $id = file(tenant => 'globex');
    is(ask('manager', 'POST', uri($id, 'approve', 'globex'),
           json => { version => 1 })->json->{state}, 'approved',
       '... which opens what is its own');
}

sub issuers {
    my ($customers) = @_;

    return <<"EOF_ISSUERS";
lockbox_issuer $VENDOR {
    keys      %%TESTDIR%%/vendor.jwks.json;
    audience  lockbox;
    role      engineer  groups=support-engineers;
    role      manager   /realm_access/roles=managers;
    role      auditor   groups=auditors;
}

lockbox_issuer $CUSTOMERS {
    keys          %%TESTDIR%%/customers.jwks.json;
    audience      lockbox;
    $customers
}
EOF_ISSUERS
}

# The author must still be somebody who could approve, and nobody else in the
# request: an issuer that once had customers may have managers now.
sub who_speaks {
    no_policy();
    set_policy(preapprovals => [triage()]);

    my $saved = save_all();

    change_conf(issuers => issuers(
        "role customer roles=lockbox-approver; tenant globex;"),
        directives => { lockbox_manager_only => 'acme' });
    load_all($saved);
    my $id = file();
    is(approve('manager', $id)->{state}, 'approved',
       'an author who is heard no more is not needed here');
    is(scalar @{ act('manager', 'show', $id)->json->{decisions} }, 1,
       '... nor does he stand in');

    # where he is needed: two issuers, of which one still speaks for acme
    my $others = <<"EOF_ISSUERS";
    role customer roles=lockbox-approver; tenant globex;
}

lockbox_issuer https://login.others.example {
    keys          %%TESTDIR%%/others.jwks.json;
    audience      lockbox;
    role customer roles=lockbox-approver; tenant acme;
EOF_ISSUERS

    $t->write_file('others.jwks.json', jwks(key('P-256', 'others')));
    change_conf(issuers => issuers($others));
    load_all($saved);
    $id = file();
    is(approve('manager', $id)->{state}, 'awaiting_customer',
       'nor where another one has to be heard');

    # the author as a manager, alone or with another one
    my $managers = "role manager roles=lockbox-approver;\n}\n"
        . "lockbox_issuer https://login.others.example {\n"
        . "keys %%TESTDIR%%/others.jwks.json; audience lockbox;\n"
        . 'role customer roles=lockbox-approver; tenant acme;';

    change_conf(issuers => issuers($managers));
    load_all($saved);
    $id = file();
    is(approve('customer', $id)->{state}, 'awaiting_customer',
       'the manager who set it himself');

    change_conf();
    load_all($saved);
    is(passed({})->{state}, 'approved', '... but for that');
}

# Where the manager decides alone nobody stands in for anybody.
sub no_customer_needed {
    change_conf(directives => { lockbox_manager_only => 'acme' });
    no_policy();
    set_policy(preapprovals => [triage()]);

    my $view = passed({});

    is($view->{state}, 'approved', 'the manager alone');
    is(scalar @{ $view->{decisions} }, 1, '... and nobody else');

    set_policy(preapprovals => [triage()], approvals => 1);
    opens({}, 'where the customer wants to be heard');

    change_conf();
}

sub seals {
    no_policy();
    set_policy(preapprovals => [triage()]);

    my $view = passed({});
    my $id = $view->{id};
    my (undef, $manager, $customer) = map { decode($_) } seals_of($id);

    is($customer->{header}{typ}, 'lockbox-seal+jwt', 'it has a seal');
    is_deeply({ map { $_ => $customer->{payload}{$_} }
                    qw(request tenant stage decision by_iss sub preapproval
                       policy_version version customers) },
              { request => $id, tenant => 'acme', stage => 'customer',
                decision => 'approve', by_iss => $CUSTOMERS, sub => 'carl',
                preapproval => 'triage', policy_version => 1, version => 2,
                customers => 1 }, '... that says all of that');
    is($customer->{payload}{token_hash},
       decode(policy_record(1)->{seal})->{payload}{token_hash},
       '... by the token that set the policy');
    ok(!exists $manager->{payload}{preapproval}, '... the manager\'s is his');

    # what is shown of it is sealed
    my $saved = save_all();

    for my $change ([ preapproval => 'other' ], [ policy_version => 2 ],
                    [ 'preapproval' ], [ 'policy_version' ])
    {
        my ($member, $value) = @$change;
        my $decision = JSON::PP::decode_json(stored($id)->{'decision:2'});

        $decision->{$member} = $value;
        delete $decision->{$member} if !defined $value;
        redis('HSET', request_key($id), 'decision:2',
              JSON::PP->new->utf8->canonical->encode($decision));
        is(outcome(act('engineer', 'grant', $id)), '503 internal_error',
           "another $member");
        load_all($saved);
    }

    my %spoilt = (
        'without its seal' => sub {
            put_seals($id, (seals_of($id))[0, 1]);
        },
        'as a manager\'s' => sub {
            reseal($id, sub { $_[2]{stage} = 'manager' });
        },
        'as a denial' => sub {
            reseal($id, sub { $_[2]{decision} = 'deny' });
        },
        'by no policy' => sub {
            reseal($id, sub { delete $_->{policy_version} for @_ });
        },
        'by an older policy' => sub {
            reseal($id, sub { $_->{policy_version} = 3 for @_[0, 1] });
        },
        'in the manager\'s name' => sub {
            reseal($id, sub { @{$_[2]}{qw(by_iss sub)} = ($VENDOR, 'mona') });
        },
        'in the engineer\'s name' => sub {
            reseal($id, sub { @{$_[2]}{qw(by_iss sub)} = ($VENDOR, 'erin') });
        },
        'where two are needed' => sub {
            reseal($id, sub { $_[2]{customers} = 2 });
        },
        'by a foreign key' => sub {
            reseal($id, sub { }, from => 2, key => key('P-256', 'foreign'));
        },
    );

    for my $name (sort keys %spoilt) {
        load_all($saved);
        $spoilt{$name}->();
        is(outcome(act('engineer', 'grant', $id)), '503 internal_error', $name);
    }

    load_all($saved);
    reseal($id, sub { });
    is(outcome(act('engineer', 'grant', $id)), '200 ok', '... but for that');
}

# A preapproval that only Redis knows of.
sub redis_alone {
    no_policy();
    set_policy();

    my $id = file();
    my $record = policy_record(1);
    my $policy = { preapprovals => [triage()] };

    put_record(1, { %$record, policy => $policy });
    is(outcome(act('manager', 'approve', $id, { version => 1 })),
       '503 internal_error', 'written by hand');

    put_record(1, { %$record, policy => $policy, seal => policy_seal($record, {
        policy_hash => Test::Lockbox::Policy::hash_of($policy) },
        key => key('P-256', 'foreign')) });
    is(outcome(act('manager', 'approve', $id, { version => 1 })),
       '503 internal_error', '... and sealed by somebody else');

    put_record(1, $record);
    is(approve('manager', $id)->{state}, 'awaiting_customer',
       '... is none');
}

# What goes on from another request begins at its end, whoever stood in.
sub an_extension {
    no_policy();
    set_policy(preapprovals => [triage()]);

    my $old = passed({});
    my $end = decode(collect($old->{id}))->{payload}{exp};
    my $new = passed({ extends => $old->{id} });

    is($new->{state}, 'approved', 'an extension is stood in for');
    is($new->{decisions}[1]{preapproval}, 'triage', '... too');
    is_deeply([ map { decode($_)->{payload}{begins} }
                (seals_of($new->{id}))[1, 2] ], [ $end, $end ],
              '... from the end of the other one');
    is(decode(collect($new->{id}))->{payload}{nbf}, $end,
       '... where its grant begins');

    # what ends behind the preapproval's end is not approved by it
    for my $case ([ \&waits, -60, 'an extension that begins too late' ],
                  [ \&waits, 59, 'an extension that ends too late' ],
                  [ \&opens, 60, '... but for that' ])
    {
        my ($check, $seconds, $name) = @$case;

        set_policy(preapprovals => [ triage(until => time_at($end
                                                             + $seconds)) ]);
        $check->({ extends => $old->{id}, duration => 60 }, $name);
    }

    set_policy(preapprovals => [triage()], max_duration => 1800);
    is(outcome(ask('engineer', 'POST', $REQUESTS,
                   json => filing(extends => $old->{id}))),
       '400 invalid_member', 'and is no longer than the policy allows');
}
