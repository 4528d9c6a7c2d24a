#!/usr/bin/env perl

# Why: Redis is trusted for order, never for permission.  Whoever can write
# there must get no grant by it, and nobody's decision on what was not sealed;
# and nothing may be sealed for those who may not decide.  Each case spoils one
# thing; left alone, the same request works.

use strict;
use warnings;

use Digest::SHA qw(sha256);

use Lockbox::Jose qw(b64url_encode decode key thumbprint);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Seals;

my $VENDOR = 'https://login.vendor.example';
my $CUSTOMERS = 'https://login.customers.example';
my $SIGNING = Test::Lockbox::Conf::signing_key();
my $FOREIGN = key('P-256', 'foreign');

my @WIDE = ({ service => 'mail', methods => [ 'DELETE', 'GET', 'POST' ],
              paths => ['/'], labels => ['secret'] });
my @PART = ({ service => 'mail', methods => ['GET'],
              paths => ['/tenants/acme/mail/a/'], labels => [] });
my @GLOBEX = ({ service => 'mail', methods => ['GET'],
                paths => ['/tenants/globex/mail/'], labels => [] });

my $t = Test::Lockbox->new;

begin($t);

# the approved request that most cases spoil, and two that are under way
my $id = approved(ticket => 'SR-4711');
my $waiting = file();
my $half = file();
approve('manager', $half);

# what they borrow from
my $twin = approved();
my $emils = approved(who => 'other-engineer');
my $narrow = approved(access => \@PART);
my $globex = approved_by_globex();
my $denied = file();
took('manager', 'deny', $denied, version => 1);
my $revoked = approved();
took('customer', 'revoke', $revoked);
my $narrowed = file();
approve('manager', $narrowed);
approve('customer', $narrowed, access => \@PART, duration => 600,
        comment => 'Less will do.');

my %seals = map { $_ => [ seals_of($_) ] } $id, $twin, $emils, $narrow;
$seals{$globex} = [ seals_of($globex, 'globex') ];

my $grant = collect($id);
my $saved = save_all();

written_by_hand();
refused(@$_) for changed_fields(), moved_seals(), signed_anew();
the_window();
who_decided();
on_the_way();
renamed();
tokens_in_each_others_place();
nothing_sealed_for_the_others();
ended_all_the_same();

done_testing();


sub approved_by_globex {
    my $id = file(tenant => 'globex', access => \@GLOBEX);
    my $uri = uri($id, 'approve', 'globex');

    ask('manager', 'POST', $uri, json => { version => 1 });
    ask('other-customer', 'POST', $uri, json => { version => 2 });

    return $id;
}

sub set {
    my ($id, @fields) = @_;

    redis('HSET', request_key($id), @fields);
}


# Somebody collects the request after it was spoilt; and the engineer collects
# it as it was, unless that says something else.
sub refused {
    my ($name, $spoil, $who, $request, $else) = @_;

    $request //= $id;

    load_all($saved);
    $spoil->();
    refuses($name, 'collect', sub { act($who // 'engineer', 'grant',
                                        $request) });

    load_all($saved);
    is(outcome(act('engineer', 'grant', $request)), $else // '200 ok',
       '... but for that');
}

# The call finds something that was never sealed like this.
sub refuses {
    my ($name, $event, $call) = @_;

    my $before = contents();
    my $logged = length $t->read_file('error.log');
    records();

    is(outcome($call->()), '503 internal_error', $name);
    is_deeply([ record_words(records()) ], [ "end $event internal_error" ],
              '... is recorded');
    is_deeply(contents(), $before, '... and changes nothing');
    like(substr($t->read_file('error.log'), $logged),
         qr/\[error\].*(not what was sealed|without the approvals it needs)/,
         '... and is in the error log');
}


sub written_by_hand {
    my %approvals = (
        $waiting => [qw(manager customer)], $half => ['customer'],
        $denied => undef, $revoked => undef,
    );

    for my $request (sort keys %approvals) {
        load_all($saved);
        my $state = stored($request)->{state};

        set($request, state => 'approved', approved_at => now(),
            expires_at => now() + 60_000);
        redis('SET', live_key($request), 'live', 'PX', 60_000);
        refuses("$state, made approved by hand", 'collect',
                sub { act('engineer', 'grant', $request) });

        my $people = $approvals{$request} or next;

        load_all($saved);
        approve($_, $request) for @$people;
        ok(collect($request), '... but for that');
    }

    # the manager's stage is not there at all
    load_all($saved);
    set($waiting, state => 'awaiting_customer');
    is(outcome(act('customer', 'approve', $waiting, { version => 1 })),
       '409 conflict', 'not approved by the customer alone');
    is(stored($waiting)->{decisions}, 1, '... nor is that written');
}

# Fields of the hash that do not fit the seals.
sub changed_fields {
    my %to = (
        access => [ access_text(@WIDE), access_text(@PART), '[]', '{}', '' ],
        duration => [ 7200, 3599, 0, -1, '3600.0', '' ],
        decisions => [ 1, 2, 4, 0, 65, -3, 'three', '' ],
        version => [ 'x', '' ],
        'decision:2' => [ '', '{}', '[]', '{"seal":""}', '{"seal":1}' ],
        justification => [ 'The inbox of acme does open.', '' ],
        reason => [ 'production_alert', '' ],
        ticket => [ 'SR-4712', '' ],
        extends => [ $twin, '' ],
    );
    my %said = (
        'a comment changed' => [ comment => 'Less will not do.' ],
        'a comment removed' => [ 'comment' ],
        'what was cut down to, changed' => [ access => \@WIDE ],
        'how short it was made, changed' => [ duration => 61 ],
        'how short it was made, removed' => [ 'duration' ],
    );

    return (
        map({
            my $field = $_;
            map {
                my $value = $_;
                [ "$field made '" . substr($value, 0, 40) . "'",
                  sub { set($id, $field => $value) } ];
            } @{ $to{$field} };
        } sort keys %to),
        [ 'without its ticket', sub {
            redis('HDEL', request_key($id), 'ticket');
        } ],
        [ 'a comment where none was made', sub {
            change_decision($id, 2, comment => 'Go.');
        } ],
        map({
            my @change = @{ $said{$_} };
            [ $_, sub { change_decision($narrowed, 2, @change) }, 'engineer',
              $narrowed ];
        } sort keys %said),
        [ 'another engineer\'s name', sub { set($id, engineer_sub => 'emil') },
          'other-engineer' ],
        [ 'what the customer has cut down (W10)', sub {
            set($narrowed, map { ($_ => stored($id)->{$_}) } 'access');
        }, 'engineer', $narrowed ],
        [ 'the time that the customer has cut down', sub {
            set($narrowed, duration => 3600);
        }, 'engineer', $narrowed ],
    );
}

# Another value for a member of a stored decision, or none.
sub change_decision {
    my ($request, $i, $member, $value) = @_;

    my $json = JSON::PP->new->utf8->canonical;
    my $decision = $json->decode(stored($request)->{"decision:$i"});

    if (defined $value) {
        $decision->{$member} = $value;
    } else {
        delete $decision->{$member};
    }

    set($request, "decision:$i" => $json->encode($decision));
}

# Genuine seals, in a place that is not theirs.
sub moved_seals {
    my @own = @{ $seals{$id} };
    my $put = sub {
        my @seals = @_;
        return sub { put_seals($id, @seals) };
    };

    return (
        [ 'without the manager\'s seal', $put->(@own[0, 2]) ],
        [ 'without the customer\'s seal', $put->(@own[0, 1]) ],
        [ 'without the filing', $put->(@own[1, 2]) ],
        [ 'the filing alone', $put->($own[0]) ],
        [ 'the seals swapped', $put->(@own[0, 2, 1]) ],
        [ 'the manager\'s seal twice', $put->(@own[0, 1, 1]) ],
        [ 'the customer\'s seal twice', $put->(@own[0, 1, 2, 2]) ],
        [ 'the manager\'s seal for the customer\'s, and that',
          $put->(@own[0, 1, 1, 2]) ],
        map({
            my ($whose, $request) = @$_;
            my @others = @{ $seals{$request} };

            ([ "the customer's seal on $whose",
               $put->(@own[0, 1], $others[2]) ],
             [ "both approvals of $whose", $put->($own[0], @others[1, 2]) ],
             [ "all seals of $whose", $put->(@others) ]);
        } [ 'a twin', $twin ], [ 'another engineer\'s request', $emils ],
          [ 'another tenant\'s request', $globex ],
          [ 'a narrower request (W10)', $narrow ]),
    );
}

# Seals that the module could have signed, wrong in one claim each.
sub signed_anew {
    my @claims = (
        [ 'for another request', 2, request => $twin ],
        [ 'for another tenant', 2, tenant => 'globex' ],
        [ 'for another engineer', 2, engineer_sub => 'emil' ],
        [ 'for another issuer\'s engineer', 1, engineer_iss => $CUSTOMERS ],
        [ 'on the same version', 2, version => 1 ],
        [ 'on an older version', 2, version => 0 ],
        [ 'over another access', 2, access_hash => access_hash(@WIDE) ],
        [ 'over another duration', 2, duration => 7200 ],
        [ 'by the engineer', 1, by_iss => $VENDOR, sub => 'erin' ],
        [ 'by the manager once more (W02)', 2, by_iss => $VENDOR,
          sub => 'mona' ],
        [ 'of the manager\'s stage', 2, stage => 'manager' ],
        [ 'of no stage', 2, stage => 'auditor' ],
        [ 'that denies', 2, decision => 'deny' ],
        [ 'that withdraws', 1, decision => 'cancel' ],
        [ 'that asks', 2, decision => 'ask' ],
        [ 'that answers nothing', 2, decision => 'answer',
          stage => 'engineer', by_iss => $VENDOR, sub => 'erin' ],
        [ 'that nobody knows', 2, decision => 'consent' ],
        [ 'over something else that was said', 2,
          text_hash => access_hash() ],
        [ 'over nothing that was said', 2, text_hash => undef ],
        [ 'by no token', 2, token_hash => undef ],
        [ 'by a login at a text', 2, auth_time => '1' ],
        [ 'by a login of no kind', 2, acr => '' ],
        [ 'of an extension', 0, extends => $twin ],
        [ 'that begins later', 2, begins => time + 60 ],
        [ 'from before the one before', 2, at => 1_000_000_000_000 ],
        [ 'without a time', 2, at => undef ],
        [ 'without a version', 2, version => undef ],
        [ 'with a version that is a text', 2, version => '2' ],
        [ 'without a request', 2, request => undef ],
        [ 'of another proxy\'s name', 2, iss => 'https://else.example' ],
        [ 'for the tenant API', 2, aud => 'tenant-api' ],
        [ 'that has expired', 2, exp => time - 1 ],
        [ 'from the future', 2, iat => time + 3600 ],
        [ 'that holds for ever', 2, exp => time + 3600 * 24 * 400 ],
        [ 'behind another one', 2, prev => access_hash() ],
        [ 'behind none', 2, prev => undef ],
        [ 'for the filing, by another', 0, sub => 'emil' ],
        [ 'for the filing, by the manager\'s stage', 0, stage => 'manager' ],
        [ 'for the filing, that approves', 0, decision => 'approve' ],
        [ 'for the filing, behind another', 0, prev => access_hash() ],
    );

    load_all($saved);
    reseal($id, sub { });
    is(outcome(act('engineer', 'grant', $id)), '200 ok',
       'the seals, signed anew');

    return (
        map({
            my ($name, $i, %claims) = @$_;

            [ "a seal $name", sub {
                reseal($id, sub { %{ $_[$i] } = (%{ $_[$i] }, %claims) });
            } ];
        } @claims),
        [ 'the customer before the manager', sub {
            reseal($id, sub { @{$_[1]}{qw(stage by_iss sub)}
                                  = ('customer', $CUSTOMERS, 'carl');
                              @{$_[2]}{qw(stage by_iss sub)}
                                  = ('manager', $VENDOR, 'mona') });
        } ],
        [ 'one more manager behind the customer', sub {
            set($revoked, state => 'approved', expires_at => now() + 60_000);
            reseal($revoked, sub {
                @{ $_[3] }{qw(decision stage by_iss sub)}
                    = ('approve', 'manager', $VENDOR, 'max');
            });
        }, 'engineer', $revoked, '409 conflict' ],
        [ 'a filing of a later version', sub {
            reseal($id, sub { $_->{version}++ for @_ });
        } ],
        [ 'a seal of the type of grants', sub {
            reseal($id, sub { }, from => 2, typ => 'lockbox-grant+jwt');
        } ],
        [ 'a seal of the type of identities', sub {
            reseal($id, sub { }, from => 2, typ => 'JWT');
        } ],
        [ 'a seal by a foreign key', sub {
            reseal($id, sub { }, from => 2, key => $FOREIGN);
        } ],
        [ 'a seal by a foreign key with our name', sub {
            reseal($id, sub { }, from => 2, key => $FOREIGN,
                   kid => thumbprint($SIGNING));
        } ],
        [ 'all seals by a foreign key', sub {
            reseal($id, sub { }, key => $FOREIGN);
        } ],
        [ 'a seal with its signature cut off', sub {
            put_seals($id, @{ $seals{$id} }[0, 1],
                      $seals{$id}[2] =~ s/[^.]+$//r);
        } ],
        [ 'a grant for a seal', sub {
            put_seals($id, @{ $seals{$id} }[0, 1], $grant);
        } ],
        [ 'an identity token for a seal', sub {
            put_seals($id, @{ $seals{$id} }[0, 1], token_of('customer'));
        } ],
    );
}


# The window is that of the seals, whatever Redis says of it.
sub the_window {
    my $seal = decode($seals{$id}[2])->{payload};
    my $earlier = sub {
        my ($seconds) = @_;

        load_all($saved);
        reseal($id, sub {
            for my $claims (@_) {
                $claims->{at} -= $seconds * 1000;
                $claims->{$_} -= $seconds for qw(iat exp);
            }
        });
        set($id, expires_at => now() + 86_400_000);
        return act('engineer', 'grant', $id);
    };
    my $claims = decode($earlier->(1000)->json->{access_token})->{payload};
    my $begins = int($seal->{at} / 1000) - 1000;

    is_deeply([ @$claims{qw(iat nbf exp)} ],
              [ $begins, $begins, $begins + 3600 ],
              'a window that Redis prolongs, as it was sealed (W06)');

    my $over = $earlier->(3600);

    is(outcome($over), '409 conflict', '... even if it is over (W06)');
    is($over->json->{state}, 'expired', '... which is what is said');
}


# With each decision goes who took it and when and how they had logged in; the
# token that says so is sealed by its hash, and shown to nobody.
sub who_decided {
    load_all($saved);

    my %login = (auth_time => time - 300, acr => 'urn:vendor:gold');
    my $token = $t->identity('manager', claims => \%login);
    my $request = file();
    my $view = $t->http('POST', uri($request, 'approve'), token => $token,
                        json => { version => 1 })->json;
    my $shown = act('customer', 'show', $request)->json;

    approve('customer', $request);

    my ($decision) = @{ $view->{decisions} };
    my ($filed, $sealed, $plain) = map { decode($_)->{payload} }
                                       seals_of($request);

    is_deeply($decision->{by}, { iss => $VENDOR, sub => 'mona', %login },
              'a decision says when and how its maker had logged in');
    is_deeply($shown->{decisions}, $view->{decisions}, '... to others, too');
    is_deeply([ sort keys %$decision ], [qw(at by decision stage)],
              '... and nothing of its token');
    is_deeply({ map { $_ => $sealed->{$_} } keys %login }, \%login,
              '... which is sealed');
    is($sealed->{token_hash}, b64url_encode(sha256($token)),
       '... with the hash of the token');
    is($filed->{token_hash},
       b64url_encode(sha256(token_of('engineer'))), 'so is the filing');
    is_deeply([ @$plain{qw(auth_time acr)} ], [ undef, undef ],
              'what a token does not say is not there');
    is(JSON::PP::decode_json(stored($request)->{'decision:1'})->{token_hash},
       $sealed->{token_hash}, 'the hash is stored');
    ok(collect($request), '... and all of it opens the door');

    for my $claims ({ auth_time => '1' }, { auth_time => 1.5 },
                    { auth_time => -1 }, { acr => '' }, { acr => 1 },
                    { acr => "gold\x{202e}" }, { acr => 'x' x 256 })
    {
        my $bad = $t->identity('manager', claims => $claims);
        my ($name) = %$claims;

        is(outcome($t->http('GET', '/lockbox/v1/whoami', token => $bad)),
           '401 malformed_token', "$name that is none");
    }
}


# Nobody decides on what was not sealed either.
sub on_the_way {
    my @half = seals_of_saved($half);
    my %spoilt = (
        'access widened (W09)' => sub {
            set($_[0], access => access_text(@WIDE));
        },
        'duration widened' => sub { set($_[0], duration => 7200) },
        'another justification' => sub {
            set($_[0], justification => 'It can wait, but why not.');
        },
        'another reason' => sub { set($_[0], reason => 'production_alert') },
        'a ticket' => sub { set($_[0], ticket => 'SR-4711') },
        'another engineer' => sub { set($_[0], engineer_sub => 'emil') },
        'another issuer' => sub { set($_[0], engineer_iss => $CUSTOMERS) },
        'a twin\'s seals' => sub { put_seals($_[0], @{ $seals{$twin} }[0, 1]) },
        'a foreign key' => sub { reseal($_[0], sub { }, key => $FOREIGN) },
        'one decision more' => sub { put_seals($_[0], @half, $half[-1]) },
        'the filing gone' => sub { put_seals($_[0], $half[1]) },
    );
    my @steps = (
        [ manager => 'approve', $waiting, 1 ],
        [ manager => 'deny', $waiting, 1 ],
        [ customer => 'approve', $half, 2 ], [ customer => 'deny', $half, 2 ],
    );

    for (@steps) {
        my ($who, $action, $request, $version) = @$_;
        my $step = sub {
            act($who, $action, $request, { version => $version });
        };

        for my $name (sort keys %spoilt) {
            load_all($saved);
            $spoilt{$name}->($request);
            refuses("$name: $who, $action", $action, $step);
        }

        load_all($saved);
        is(outcome($step->()), '200 ok', "... but for that: $who, $action");
    }
}

sub seals_of_saved {
    my ($request) = @_;

    load_all($saved);

    return seals_of($request);
}

# A request under a name that is not its own.
sub renamed {
    my $copy = sub {
        my ($key, @fields) = @_;

        load_all($saved);
        redis('COPY', request_key($id), $key);
        redis('HSET', $key, @fields);
    };

    my $name = Test::Lockbox::Conf::uuid7();
    $copy->(request_key($name), id => $name);
    refuses('a copy with another id', 'collect',
            sub { act('engineer', 'grant', $name) });

    $copy->(request_key($id, 'globex'), tenant => 'globex');
    refuses('a copy for another tenant', 'collect',
            sub { ask('engineer', 'POST', uri($id, 'grant', 'globex')) });

    is(outcome(act('engineer', 'grant', $id)), '200 ok', '... but for that');
}


sub tokens_in_each_others_place {
    my $whoami = '/lockbox/v1/whoami';
    my %tokens = (seal => $seals{$id}[2], grant => $grant,
                  identity => token_of('engineer'));

    load_all($saved);

    for my $kind (sort keys %tokens) {
        is(outcome(knock($tokens{$kind})),
           $kind eq 'grant' ? '200 ok' : '401 wrong_type',
           "$kind at the gate");
        is(outcome($t->http('GET', $whoami, token => $tokens{$kind})),
           $kind eq 'identity' ? '200 ok' : '401 wrong_type',
           "$kind at the admin API (W15)");
        is(outcome($t->http('POST', uri($id, 'revoke'),
                            token => $tokens{$kind})),
           $kind eq 'identity' ? '403 forbidden_role' : '401 wrong_type',
           "$kind to revoke with (W15)");
    }
}


# What is sent to Redis, as Redis says.
sub sent_to_redis {
    my ($work) = @_;

    my $monitor = $t->redis_client;
    $monitor->command('MONITOR');
    $work->();

    my $mark = 'the end ' . rand;
    redis('ECHO', $mark);

    return $monitor->read_until(qr/\Q$mark\E"\r\n/);
}

sub nothing_sealed_for_the_others {
    my %two = (version => 2);
    my @refused = (
        (map { my $who = $_; map { [ $who, $_, $half, \%two ] }
                                 qw(approve deny) }
             qw(engineer other-engineer engineer-manager former-engineer
                manager second-manager other-customer auditor roleless
                false-customer false-manager nobody)),
        (map { [ $_, 'approve', $waiting, { version => 1 } ] }
             qw(customer engineer-manager engineer auditor)),
        [ 'customer', 'approve', $half, { version => 1 } ],
        [ 'customer', 'approve', $half, { %two, access => \@WIDE } ],
        [ 'customer', 'approve', $half, { %two, duration => 7200 } ],
        [ 'customer', 'approve', $id, { version => 3 } ],
        [ 'customer', 'deny', $id, { version => 3 } ],
        (map { [ $_, 'cancel', $half ] }
             qw(manager customer former-engineer other-engineer)),
        (map { [ $_, 'complete', $id ] }
             qw(manager customer former-engineer other-engineer)),
        (map { [ $_, 'revoke', $id ] }
             qw(engineer other-engineer other-customer auditor)),
        [ 'manager', 'revoke', $half ],
        [ 'manager', 'revoke', $id, { version => 2 } ],
        [ 'engineer', 'cancel', $id ],
        [ 'engineer', 'complete', $half ],
    );

    load_all($saved);
    my $before = contents();
    my @outcomes;
    my $sent = sent_to_redis(sub {
        @outcomes = map { act(@$_)->status } @refused;
    });

    is(scalar(grep { /^4/ } @outcomes), scalar @refused,
       'whoever may not is refused');
    unlike($sent, qr/seal/, '... and no seal was made for them');
    is_deeply(contents(), $before, '... nor anything changed');

    for my $file (qw(manager customer auditor roleless false-manager)) {
        unlike(sent_to_redis(sub { ask($file, 'POST', $REQUESTS,
                                       json => filing()) }),
               qr/seal|EVAL/, "no seal for a filing by $file");
    }

    like(sent_to_redis(sub { approve('customer', $half) }), qr/seal/,
         'one for the customer, who may');
}


sub unsealed {
    return stored($id)->{'decision:1'} =~ s/"seal":"[^"]+",//r;
}

# A grant that is out is not held open by what was done to its request.
sub ended_all_the_same {
    my %spoilt = (
        'a changed engineer' => { engineer_sub => 'emil' },
        'a wider access'     => { access => access_text(@WIDE) },
        'a lost seal'        => { 'decision:1' => unsealed() },
        'no version'         => { version => 'x' },
        'fewer decisions'    => { decisions => 1 },
        'no decisions'       => { decisions => '' },
    );
    my %why = (comment => 'This is not what was approved.');

    for my $name (sort keys %spoilt) {
        load_all($saved);
        set($id, %{ $spoilt{$name} });

        is(outcome(act('other-customer', 'revoke', $id)), '404 not_found',
           "$name: not revoked by another customer");
        ok(redis('EXISTS', live_key($id)), '... and still live');
        is(outcome(act('customer', 'revoke', $id, \%why)), '200 ok',
           '... revoked by the customer');
        ok(!redis('EXISTS', live_key($id)), '... and over');
        is(stored($id)->{state}, 'revoked', '... for good');

        my $view = act('auditor', 'show', $id)->json;
        my ($list) = grep { $_->{id} eq $id }
            @{ ask('auditor', 'GET', $REQUESTS)->json->{requests} };
        my $last = $view->{decisions}[-1];

        is_deeply([ @$last{qw(stage decision comment)}, @{ $last->{by} }{sub} ],
                  [ 'customer', 'revoke', $why{comment}, 'carl' ],
                  '... which says by whom and why');
        is(scalar @{ $view->{decisions} }, 3, '... besides what was there');
        is_deeply($list->{decisions}, $view->{decisions},
                  '... in the list, too');
        is(outcome(act(stored($id)->{engineer_sub} eq 'emil'
                           ? 'other-engineer' : 'engineer', 'grant', $id)),
           '503 internal_error', '... and still verifies as nothing');
    }
}
