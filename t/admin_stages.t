#!/usr/bin/env perl

# Why: how many have to approve, and who, is the operator's to say and nobody
# else's; each of them counts once.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;

my $VENDOR = 'https://login.vendor.example';
my $CUSTOMERS = 'https://login.customers.example';

my $t = Test::Lockbox->new;

begin($t);

tenants_without_a_customer();
tenants_that_nobody_speaks_for();
several_approvals();
who_narrowed_what();
several_managers_alone();
stricter_by_now();
many_at_once();

done_testing();


sub tenants_without_a_customer {
    change_conf(directives => { lockbox_manager_only => 'solo acme' });

    my $id = file();

    is(approve('manager', $id)->{state}, 'approved',
       'where the manager decides alone');
    is(outcome(knock(collect($id))), '200 ok', '... his approval is enough');
    is(took('customer', 'revoke', $id)->{state}, 'revoked',
       '... and the customer may end it');

    for my $tenant (qw(Solo solo2 globex)) {
        my $other = file(tenant => $tenant);
        my $answer = ask('manager', 'POST', uri($other, 'approve', $tenant),
                         json => { version => 1 });

        is($answer->json->{state}, 'awaiting_customer', "but not at $tenant");
    }

    # what was approved so is worth nothing where the customer is needed
    my $left = file();
    approve('manager', $left);
    change_conf();

    is(outcome(act('engineer', 'grant', $left)), '409 conflict',
       'nor once the customer has a say again');
    is(outcome(act('manager', 'revoke', $left)), '200 ok',
       '... but it can be ended');
}

sub tenants_that_nobody_speaks_for {
    my $issuers = <<"EOF_ISSUERS";
lockbox_issuer $VENDOR {
    keys      %%TESTDIR%%/vendor.jwks.json;
    audience  lockbox;
    role      engineer  groups=support-engineers;
    role      manager   /realm_access/roles=managers;
}

lockbox_issuer $CUSTOMERS {
    keys      %%TESTDIR%%/customers.jwks.json;
    audience  lockbox;
    role      customer  roles=lockbox-approver;
    tenant    acme;
}
EOF_ISSUERS

    change_conf(issuers => $issuers,
                directives => { lockbox_manager_only => 'solo' });

    my %statuses = (acme => 201, globex => 404, Acme => 404, solo => 201);

    for my $tenant (sort keys %statuses) {
        my $response = ask('engineer', 'POST',
                           "/lockbox/v1/tenants/$tenant/requests",
                           json => filing());

        is($response->status, $statuses{$tenant},
           "a tenant that somebody speaks for, or not: $tenant");
    }

    # the issuer says whose customer it is, not the token
    my $id = approved();
    is(outcome(knock(collect($id))), '200 ok', 'carl speaks for acme');
    is(outcome(act('other-customer', 'revoke', $id)), '200 ok',
       '... as does everybody of this issuer');
}

sub several_approvals {
    change_conf(directives => {
        lockbox_approvals => 'manager=2 customer=2',
    });

    my $id = file();
    my @steps = (
        [ manager => '200 ok', 'awaiting_manager' ],
        [ manager => '403 same_person' ],
        [ customer => '409 conflict' ],
        [ 'engineer-manager' => '403 own_request' ],
        [ 'second-manager' => '200 ok', 'awaiting_customer' ],
        [ 'second-manager' => '409 conflict' ],
        [ customer => '200 ok', 'awaiting_customer' ],
        [ customer => '403 same_person' ],
        [ 'other-customer' => '404 not_found' ],
        [ 'second-customer' => '200 ok', 'approved' ],
        [ 'second-customer' => '409 conflict' ],
    );

    for (@steps) {
        my ($who, $outcome, $state) = @$_;
        my $response = act($who, 'approve', $id, {
            version => stored($id)->{version} + 0 });

        is(outcome($response), $outcome, "two of each: $who (W01 W02)");
        is($response->json->{state}, $state, '... and then') if $state;
        is(redis('EXISTS', live_key($id)), 0, '... nothing is live')
            if ($state // '') ne 'approved' && $who ne 'second-customer';
    }

    is_deeply([ map { "$_->{stage} $_->{by}{sub}" }
                    @{ act('auditor', 'show', $id)->json->{decisions} } ],
              [ 'manager mona', 'manager max', 'customer carl',
                'customer cora' ], 'all are named');
    is(outcome(knock(collect($id))), '200 ok', 'and the grant is good');

    # one may deny what others have approved
    $id = file();
    approve('manager', $id);
    is(took('second-manager', 'deny', $id, version => 2)->{state}, 'denied',
       'one denial is enough');
}

# Each later one decides on what the earlier ones left, and sees who left it;
# who approved more has approved less as well.
sub who_narrowed_what {
    change_conf(directives => {
        lockbox_approvals => 'manager=2 customer=2',
    });

    my $access = sub {
        my ($methods, $path, @labels) = @_;

        return [ { service => 'mail', methods => $methods,
                   paths => ["/tenants/acme/mail/$path"],
                   labels => \@labels } ];
    };
    my @asked = ([ 'GET', 'POST' ], '', 'confidential');
    my @steps = (
        [ 'manager', {}, $access->(@asked), 3600 ],
        [ 'second-manager', { access => $access->([ 'GET', 'POST' ], '') },
          $access->([ 'GET', 'POST' ], ''), 3600 ],
        [ 'customer', { access => $access->(['GET'], ''), duration => 1800 },
          $access->(['GET'], ''), 1800 ],
        [ 'second-customer', { duration => 900,
                               access => $access->(['GET'], 'inbox/') },
          $access->(['GET'], 'inbox/'), 900 ],
    );
    my $id = file(access => $access->(@asked));
    my (@want, $view);

    for (@steps) {
        my ($who, $body, $left, $duration) = @$_;

        $view = approve($who, $id, %$body);
        push @want, %$body ? [ $left, $duration ] : [ undef, undef ];

        is_deeply([ @$view{qw(access duration)} ], [ $left, $duration ],
                  "narrowed by $who (W19)");
        is_deeply([ map { [ @$_{qw(access duration)} ] }
                        @{ $view->{decisions} } ], \@want,
                  '... and it shows who narrowed what');
    }

    is($view->{state}, 'approved', 'earlier approvals count all the same');
    is_deeply($view->{decisions},
              act('engineer', 'show', $id)->json->{decisions},
              '... and all see them');

    my $grant = collect($id);

    is(outcome(knock($grant, 'GET', '/tenants/acme/mail/inbox/1')), '200 ok',
       'what is left is open');
    is(outcome(knock($grant)), '403 wrong_path', '... and no more');

    # the same is not less
    $id = file();
    $view = approve('manager', $id, access => filing()->{access},
                    duration => 3600);
    ok(!exists $view->{decisions}[0]{$_}, "who asks for all narrows no $_")
        for qw(access duration);

    # what one manager has cut off, the other cannot give back
    $id = file();
    approve('manager', $id, access => $access->(['GET'], ''));
    my $response = act('second-manager', 'approve', $id,
                       { version => 2, access => filing()->{access} });
    is(outcome($response), '400 invalid_member',
       'nor can the stage give back what it has cut off (W20)');
    is(outcome(act('second-manager', 'approve', $id, { version => 1 })),
       '409 conflict', '... or decide on what it was before');
    is(approve('second-manager', $id)->{state}, 'awaiting_customer',
       '... but agree to what is left');
}

# Nobody makes up in Redis for a manager that is missing.
sub several_managers_alone {
    change_conf(directives => { lockbox_approvals => 'manager=2 customer=1',
                                lockbox_manager_only => 'acme' });
    redis('FLUSHALL');

    my $id = file();

    is(approve('manager', $id)->{state}, 'awaiting_manager',
       'one of two managers who decide alone');

    my $saved = save_all();

    redis('HSET', request_key($id), state => 'approved',
          expires_at => now() + 3_600_000);
    is(outcome(act('engineer', 'grant', $id)), '503 internal_error',
       '... is not enough, whatever Redis says');

    load_all($saved);
    is(approve('second-manager', $id)->{state}, 'approved', '... but both are');
    is(outcome(knock(collect($id))), '200 ok', '... and it is good');
}

# What is under way when more become necessary gets by on no less, and says so.
sub stricter_by_now {
    my $more = sub {
        change_conf(directives => { lockbox_approvals => $_[0] });
    };
    my $actions = sub {
        my ($who, $id) = @_;
        my $shown = act($who, 'show', $id)->json->{actions};
        my ($listed) = map { $_->{actions} } grep { $_->{id} eq $id }
            @{ ask($who, 'GET', $REQUESTS)->json->{requests} };

        is_deeply($listed, $shown, "... as $who sees it in the list, too");
        return $shown;
    };

    redis('FLUSHALL');
    change_conf();

    my $half = file();
    approve('manager', $half);
    my $whole = approved();
    my $longer = file(extends => $whole);

    $more->('manager=2');
    records();
    my $before = contents();
    my $response = act('customer', 'approve', $half, { version => 2 });

    is(outcome($response), '409 conflict', 'one manager was enough, and is not');
    like($response->json->{detail}, qr/^More managers must approve now/,
         '... which is what is said');
    is_deeply([ record_words(records()) ], [ 'end approve conflict' ],
              '... and recorded');
    is_deeply(contents(), $before, '... and nothing opens');
    is_deeply($actions->('customer', $half), [qw(deny ask)],
              '... nor is it offered');
    is_deeply($actions->('engineer', $half), ['cancel'],
              '... and its engineer may withdraw it');

    $response = act('engineer', 'grant', $whole);
    is(outcome($response), '409 conflict', 'what one manager has approved');
    like($response->json->{detail}, qr/^It was approved by fewer/,
         '... is no more, which is what is said');
    is_deeply([ record_words(records()) ], [ 'end collect conflict' ],
              '... and recorded');
    is_deeply($actions->('customer', $whole), ['revoke'],
              '... and it can be ended');

    # what it goes on from was approved all the same
    approve($_, $longer) for qw(manager second-manager customer);
    is(stored($longer)->{starts_at}, stored($whole)->{expires_at},
       'who has asked for more time begins at the end of that');

    $more->('manager=1 customer=2');
    is(outcome(act('engineer', 'grant', $whole)), '409 conflict',
       'what one customer has approved');
    is(approve('customer', $half)->{state}, 'awaiting_customer',
       '... while another one can still be asked');
    is(approve('second-customer', $half)->{state}, 'approved', '... and says');
    is(outcome(knock(collect($half))), '200 ok', '... that it is good');

    # with nothing else changed
    change_conf();
    $half = file();
    approve('manager', $half);
    is_deeply($actions->('customer', $half), [qw(approve deny ask)],
              'where one is enough it is offered');
    is(approve('customer', $half)->{state}, 'approved', '... and opens');
    is(outcome(knock(collect($_))), '200 ok', '... and is good')
        for $whole, $half;
}

# One approval that is sent many times is one (W07).
sub many_at_once {
    change_conf(directives => { lockbox_approvals => 'manager=2' });
    redis('FLUSHALL');

    my $id = file();
    my @connections = map { $t->http_connect } 1 .. 30;
    my %outcomes;

    $_->request('POST', uri($id, 'approve'), token => token_of('manager'),
                json => { version => 1 }) for @connections;
    $outcomes{ outcome($_->response) }++ for @connections;

    is(delete $outcomes{'200 ok'}, 1, 'one approval of many counts (W07)');
    is_deeply([ grep { !/^(403 same_person|409 conflict)$/ }
                     sort keys %outcomes ], [], '... the others are refused');
    is(stored($id)->{state}, 'awaiting_manager', '... and one is not two');
    is(stored($id)->{decisions}, 2, '... which is written once');
}
