#!/usr/bin/env perl

# Why: a list must show all that somebody may see and nothing else, stay in
# place while requests are filed, and never keep Redis busy for long.

use strict;
use warnings;

use Digest::SHA qw(sha1_hex);

use Test::Lockbox;
use Test::Lockbox::Workflow;

my $t = Test::Lockbox->new;

start($t);

lists();
list_visibility();
list_bounds();
old_entries();

done_testing();


sub lists {
    flush();

    my @ids = map { id($_) } 1 .. 25;
    file('engineer', request => { id => $_ }) for @ids;
    my @newest = reverse sorted(@ids);

    for my $who (qw(engineer manager customer auditor tenant-auditor
                    engineer-customer))
    {
        is_deeply([ pages($who, 10) ],
                  [ [ @newest[0 .. 9] ], [ @newest[10 .. 19] ],
                    [ @newest[20 .. 24] ] ], "$who: pages, newest first");
        is_deeply([ pages($who, 25) ], [ \@newest ],
                  "$who: a full last page ends the list");
    }

    redis('ZADD', 'lockbox:requests', now() - 60 + $_, 'acme:' . id($_))
        for 1 .. 25;
    @newest = reverse @ids;

    my $first = listed('manager', limit => 10);
    my @later = map { id($_) } 26 .. 30;
    file('engineer', request => { id => $_ }) for @later;
    my $second = listed('manager', limit => 10, cursor => $first->{next});

    is_deeply($second->{ids}, [ @newest[10 .. 19] ],
              'what is filed meanwhile moves nothing');
    like($first->{next}, qr/^[0-9.]+$/, 'a cursor names no request');

    my $page = listed('engineer', limit => 1);
    is_deeply($page->{requests}[0]{fields},
              called('show', 'engineer', id => $page->{ids}[0])->{fields},
              'an entry is the whole request');
    is_deeply($page->{requests}[0]{actions}, [ 'cancel' ],
              'with the actions of the caller');

    is_deeply(listed('manager', limit => 1)->{requests}[0]{actions},
              [ 'approve', 'deny', 'ask' ], 'whoever it is');

    # many in the same millisecond
    flush();
    file('engineer', request => { id => $_ }) for @ids;
    redis('ZADD', $_, map { (1_700_000_000_000, $_) }
                          @{ redis('ZRANGE', $_, 0, -1) })
        for qw(lockbox:requests lockbox:{acme}:requests);
    @newest = reverse sort @ids;

    for my $who (qw(manager customer)) {
        is_deeply([ map { @$_ } pages($who, 7) ], \@newest,
                  "$who: requests of one millisecond");
    }
}

sub list_visibility {
    flush();

    my %at = (
        eve => [ 'engineer', 'acme', 1 ],
        emil => [ 'other-engineer', 'acme', 2 ],
        eve2 => [ 'engineer', 'globex', 3 ],
        emil2 => [ 'other-engineer', 'globex', 4 ],
    );
    my %id;

    for my $name (sort { $at{$a}[2] <=> $at{$b}[2] } keys %at) {
        my ($who, $tenant, $i) = @{ $at{$name} };
        file($who, request => { id => id($i), tenant => $tenant });
        $id{id($i)} = $name;
    }

    my %want = (
        'engineer'           => 'eve eve2',
        'engineer-manager'   => 'emil emil2 eve eve2',
        'engineer-customer'  => 'emil eve eve2',
        'engineer-as-both'   => 'emil emil2 eve eve2',
        'engineer-no-longer' => '',
        'other-engineer'     => 'emil emil2',
        'namesake'           => '',
        'manager'            => 'emil emil2 eve eve2',
        'third-manager'      => 'emil emil2 eve eve2',
        'manager-decided'    => 'emil emil2 eve eve2',
        'decided-customer'   => 'emil eve',
        'decided-as-both'    => 'emil emil2 eve eve2',
        'decided-namesake'   => 'emil emil2 eve eve2',
        'customer'           => 'emil eve',
        'second-customer'    => 'emil eve',
        'other-customer'     => 'emil2 eve2',
        'tenantless'         => '',
        'auditor'            => 'emil emil2 eve eve2',
        'tenant-auditor'     => 'emil eve',
        'other-auditor'      => 'emil2 eve2',
        'customer-auditor'   => 'emil2 eve2',
        'nobody'             => '',
    );

    for my $tenant (undef, 'acme', 'globex', 'initech') {
        my (%got, %expected);

        for my $who (keys %ACTOR) {
            my $page = listed($who, tenant => $tenant);

            $got{$who} = join ' ', sort map { $id{$_} } @{ $page->{ids} };
            $expected{$who} = join ' ', grep {
                my $of = /2/ ? 'globex' : 'acme';
                !$tenant || $of eq $tenant;
            } split / /, $want{$who};
        }

        is_deeply(\%got, \%expected,
                  'who sees what of ' . ($tenant // 'all tenants'));
    }

    # where a list goes on must not tell of other people's requests
    for my $who (sort keys %ACTOR) {
        next if $who eq 'engineer-customer';

        for my $tenant (undef, 'acme', 'globex') {
            next if $tenant && $who =~ /^(?:other-)?engineer$/;

            my $all = listed($who, tenant => $tenant);
            my $n = @{ $all->{ids} } || 1;
            my $page = listed($who, tenant => $tenant, limit => $n);

            is($page->{next}, '', "$who: the end of the list is the end"
                                  . ($tenant ? " at $tenant" : ''));
        }
    }

    # the state that counts is the one in effect
    overdue(id(1));
    my %states = (
        lapsed => [ id(1) ], awaiting_manager => [ id(4), id(3), id(2) ],
        awaiting_customer => [], approved => [], nonsense => [],
    );

    for my $state (sort keys %states) {
        is_deeply(listed('manager', state => $state)->{ids}, $states{$state},
                  "the $state ones");
    }

    is_deeply(listed('customer', state => 'awaiting_manager')->{ids},
              [ id(2) ], 'the awaiting ones of a tenant');
    is_deeply(listed('manager', state => 'awaiting_manager',
                     tenant => 'globex')->{ids}, [ id(4), id(3) ],
              'the awaiting ones of one tenant');
    is_deeply(listed('engineer', state => 'lapsed')->{ids}, [ id(1) ],
              'the lapsed ones of an engineer');
}

sub list_bounds {
    flush();
    file('engineer', request => { id => id($_) }) for 1 .. 3;

    for my $limit (0, 101, -1, 1.5, 'ten') {
        like(called('list', 'manager', limit => $limit)->{error},
             qr/bad argument "limit"/, "a limit of $limit");
    }
    ok(!called('list', 'manager', limit => 100)->{error}, 'a limit of 100');

    for my $cursor ('', '1', '.1', '1.', 'x', '1.1.1', ' 1.1', "1.1\n", '-1.1',
                    '1e3.1', '1.x', '9' x 16 . '.1', '1.' . '1' x 10,
                    "acme:$ID", '0x1.1', '(1.1')
    {
        my $page = called('list', 'manager', limit => 10, cursor => $cursor);
        my $shown = $cursor =~ s/\n/\\n/r;

        is($page->{result}, 'invalid_cursor', "a cursor of \"$shown\"");
        is_deeply($page->{requests}, [], '... leads nowhere');
    }

    is_deeply(listed('manager', cursor => '1.1')->{ids}, [],
              'a cursor beyond the end');
    is_deeply(listed('nobody', cursor => '9999999999999.0')->{ids}, [],
              'a cursor opens nothing');

    # an open one, a denied one, and in front of them 1200 that are neither
    flush();
    file('engineer', request => { id => id($_) }) for 0, 1;
    step('cancel', 'engineer', id => id(1));
    copies(id(1), map { id($_) } 2 .. 1201);
    redis('HSET', request_key('acme', id(1)), 'state', 'denied');

    my ($calls, $cursor, @found) = (0);

    do {
        my $page = listed('manager', state => 'denied', cursor => $cursor);
        push @found, @{ $page->{ids} };
        $cursor = $page->{next};
    } while ($cursor ne '' && ++$calls < 10);

    is($calls, 2, 'a call looks at a bounded number of requests');
    is_deeply(\@found, [ id(1) ], 'and in the end finds what there is');
    is_deeply(listed('manager', state => 'awaiting_manager')->{ids}, [ id(0) ],
              'open ones are found at once');

    for my $case ([ 'other-customer', 'acme' ], [ 'other-engineer', 'acme' ],
                  [ 'nobody', 'acme' ], [ 'engineer-customer', 'globex' ],
                  [ 'other-customer' ], [ 'other-engineer' ], [ 'nobody' ])
    {
        my ($who, $tenant) = @$case;

        is(listed($who, tenant => $tenant)->{next}, '',
           "$who: no way on past what is not there"
           . ($tenant ? " at $tenant" : ''));
    }
}

# Further requests like that one, filed after it.
sub copies {
    my ($id, @ids) = @_;

    my $copy = redis('DUMP', request_key('acme', $id));
    my $time = now();

    for my $new (@ids) {
        my $key = request_key('acme', $new);

        redis('RESTORE', $key, 0, $copy);
        redis('HSET', $key, 'id', $new);
        redis('ZADD', 'lockbox:requests', ++$time, "acme:$new");
        redis('ZADD', 'lockbox:{acme}:requests', $time, $new);
    }
}

sub old_entries {
    flush();
    file('engineer', request => { id => id($_) }) for 1 .. 6;
    my $index = 'lockbox:requests';

    redis('DEL', request_key('acme', id($_))) for 2, 4, 6;
    redis('ZADD', $index, 1, 'rubbish');

    is_deeply([ map { @$_ } pages('manager', 2) ], [ id(5), id(3), id(1) ],
              'requests that have gone are passed over');
    is(redis('ZCARD', $index), 3, 'and forgotten');
    is_deeply([ map { @$_ } pages('customer', 1) ], [ id(5), id(3), id(1) ],
              'in a tenant\'s list, too');

    flush();
    file('engineer', request => { id => id($_) }) for 1 .. 3;
    redis('DEL', request_key('acme', id($_))) for 1, 3;
    file('engineer', request => { id => id(4) });

    my $eve = sha1_hex("https://vendor.example\neve");

    for my $name ('lockbox:requests', 'lockbox:{acme}:requests',
                  "lockbox:engineer:$eve")
    {
        is_deeply([ map { /(.{36})$/ } @{ redis('ZRANGE', $name, 0, -1) } ],
                  [ id(2), id(3), id(4) ],
                  "a filing clears the old end of $name");
    }
}

# By time of filing, and within a millisecond by id, as the index has them.
sub sorted {
    my (@ids) = @_;

    my %at = map { $_ => redis('HGET', request_key('acme', $_), 'created_at') }
                 @ids;

    return sort { $at{$a} <=> $at{$b} || $a cmp $b } @ids;
}
